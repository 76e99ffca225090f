"""The regions of a brain."""
