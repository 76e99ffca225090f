"""What every system shares that samples from noise: shards on disk, seeds, the pipeline, NIfTI export."""
