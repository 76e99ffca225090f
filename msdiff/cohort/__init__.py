"""Who is in the study: scan sheets and their sources, the phantom, splits, pairs, stacks of slices, samples."""
