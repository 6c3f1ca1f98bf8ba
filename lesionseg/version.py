"""The version of lesionseg, and nothing else."""

__version__ = "0.1.0"
