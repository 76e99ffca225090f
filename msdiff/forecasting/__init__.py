"""NET2 lesions of the next year under a treatment: forecasts by diffusion (Favero et al. 2025, arXiv 2508.07006).

NET2 are new or enlarging T2 lesions from one session to the next.
"""
