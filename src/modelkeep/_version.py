"""The version, on its own so that `modelkeep --version` need import nothing else."""

__version__ = "0.1.0"
