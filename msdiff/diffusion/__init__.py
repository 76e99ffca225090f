"""The diffusion core: noise, objective, sampler, guidance. It knows nothing of MRI."""
