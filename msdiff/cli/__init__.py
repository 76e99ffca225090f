"""The commands: one thin module each, which reads, calls one function and writes.

A command module has a docstring (its help), `add_arguments(parser)` and `run(arguments)`; it is imported only
when its command is called.
"""

COMMANDS = {
    "index-scans": ("msdiff.cli.index_scans", "list the scans of a folder in a sheet"),
    "draw-phantom": ("msdiff.cli.draw_phantom", "draw one patient of the embedded cohort, with ground truth"),
    "pair-scans": ("msdiff.cli.pair_scans", "check a sheet, assign splits, pair baselines with follow-ups"),
    "register": ("msdiff.cli.register", "bring a patient's scans to one unbiased space and the common grid"),
    "correct-bias": ("msdiff.cli.correct_bias", "remove the bias field of a patient's scans"),
    "strip-skull": ("msdiff.cli.strip_skull", "find the brain in a patient's scans"),
    "normalise": ("msdiff.cli.normalise", "bring a patient's intensities to [-1, 1], measured on the baseline"),
    "parcellate": ("msdiff.cli.parcellate", "label the brain regions of a patient"),
    "check-quality": ("msdiff.cli.check_quality", "measure and picture a patient's scans; flag the faulty"),
    "train-parcellator": ("msdiff.cli.train_parcellator", "train the SynthSeg network on painted label maps"),
    "export-parcellator": ("msdiff.cli.export_parcellator", "write the trained SynthSeg network as a Keras file"),
    "stack-scans": ("msdiff.cli.stack_scans", "one memory-mapped array per contrast, and an index of slices"),
    "train-generator": ("msdiff.cli.train_generator", "train a generator of follow-up scans"),
    "plan-samples": ("msdiff.cli.plan_samples", "list what to generate: baseline, change mask, seed"),
    "draw-samples": ("msdiff.cli.draw_samples", "generate one shard of a plan"),
    "score-images": ("msdiff.cli.score_images", "compare generated with real follow-ups, one row per sample"),
    "mix-slices": ("msdiff.cli.mix_slices", "list a detector's training slices, real and synthetic"),
    "train-detector": ("msdiff.cli.train_detector", "train a detector of new lesions"),
    "detect-lesions": ("msdiff.cli.detect_lesions", "find new lesions in test patients and score them"),
    "reader-study": ("msdiff.cli.reader_study", "a blinded study of readers: its page, its answers, its table"),
    "augmentation": ("msdiff.cli.augmentation", "table: detectors by real-to-synthetic ratio"),
    "augmentation-tests": ("msdiff.cli.augmentation_tests", "table: every mix against real slices alone"),
    "lesion-sizes": ("msdiff.cli.lesion_sizes", "table: lesions found, and false positives, by volume"),
    "lesions": ("msdiff.cli.lesions", "table: every true and predicted lesion"),
    "image-quality": ("msdiff.cli.image_quality", "table: generated against real follow-ups"),
    "ablation": ("msdiff.cli.ablation", "table: what each idea of a generator buys"),
    "cohort": ("msdiff.cli.cohort", "table: new lesions and activity by treatment arm"),
    "quality": ("msdiff.cli.quality", "table: measures and flags of every scan"),
    "compute": ("msdiff.cli.compute", "table: hours and memory by rule"),
    "draw-figures": ("msdiff.cli.draw_figures", "figures of the report"),
    "provenance": ("msdiff.cli.provenance", "record what ran: versions, commit, settings, seeds"),
    "config-schema": ("msdiff.cli.config_schema", "write the schema of config.yaml from the stages' settings"),
    "report": ("msdiff.cli.report", "one self-contained page of tables and figures"),
    "cluster": ("msdiff.cli.cluster", "propose the partitions of a Slurm cluster"),
    "plan": ("msdiff.cli.plan", "tell what a run will cost, before it starts"),
    "status": ("msdiff.cli.status", "tell what of a run is done, running, waiting, failed and why"),
}
