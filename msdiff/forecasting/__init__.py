"""NET2 lesions of the next year under a treatment: forecasts by diffusion (Favero et al. 2025, arXiv 2508.07006).

NET2 are new or enlarging T2 lesions from one session to the next.
"""

# The array of a shard of forecasts (row, draw, z, y, x), and columns of its manifest that all rows of a purpose share.
MASK_ARRAY = "masks"
COMMON = [
    *("draws", "seed", "shared_noise", "voxel_threshold"),
    *("model", "weights_sha256", "sampler", "steps", "guidance_weight"),
]
