"""Generators of follow-up scans: training, plans, draws and scores.

A generator is two functions, listed here by its name or given as `module:function` from elsewhere:

    TRAIN   (stack, settings, auxiliary, checkpoints, minutes, device, compile_when) -> Trained
            settings are plain values of its section of the config, checked by the generator itself; auxiliary is the
            path of a trained detector's weights; Trained is that of msdiff.training. With several accelerators it is
            called in as many processes, for msdiff.training.train to share the batches, where settings have `training`
            (TrainingSettings). compile_when is as in msdiff.networks.compiled
    SAMPLE    (tensors, description, device, compile_when) -> draw(baseline, change_mask, scalars, seeds, sampler)
            baseline (B, 1, H, W) in [-1, 1], change_mask (B, 1, H, W) of 0 and 1, scalars (B, 3) in mm3, a number and
            0 or 1, one seed per sample, a SamplerSettings; all on the CPU. Returns follow-ups (B, 1, H, W) on its
            device, finished or not, so that the next batch can be ordered before this one is fetched. A sample depends
            on its own inputs and seed only; bit for bit on a CPU, within rounding on an accelerator
"""

TRAIN = {"long_ms_diff": "msdiff.synthesis.long_ms_diff.task:train_generator"}
SAMPLE = {"long_ms_diff": "msdiff.synthesis.long_ms_diff.follow_ups:load_generator"}
