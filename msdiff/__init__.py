"""Diffusion models that imagine how multiple sclerosis will look on a later MRI scan."""

__version__ = "0.1.0"
