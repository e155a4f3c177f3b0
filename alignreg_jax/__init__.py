"""Prune cross-lingual encoders, keep the languages without labels (AlignReg, arXiv 2204.01385)."""

__version__ = "0.1.0"
