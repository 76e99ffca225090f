"""Numbers from arrays: voxel, lesion, image and interval statistics."""
