"""Measurements against peers: `python -m benchmarks.NAME` prints a table with ratios."""
