"""Generators of follow-up scans: what each adds to the diffusion core."""
