"""Detectors of new lesions, trained on mixes of real and synthetic slices."""
