"""Proving what a keep or a cache holds, and making good what is bad."""
