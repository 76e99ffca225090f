"""Arrays of scans on one grid, and their index: what every training reads."""
