"""The commands: one thin module each, which reads, calls one function and writes.

A command module has a docstring (its help), `add_arguments(parser)` and `run(arguments)`; it is imported only
when its command is called.
"""

COMMANDS = {
    # Cohort.
    "index-scans": ("msdiff.cli.index_scans", "list the scans of a folder in a sheet"),
    "simulate-phantom": (
        "msdiff.cli.simulate_phantom",
        "simulate one patient of the embedded cohort, with ground truth",
    ),
    "simulate-aligned": ("msdiff.cli.simulate_aligned", "simulate patients of the embedded cohort on the common grid"),
    "check-sheet": ("msdiff.cli.check_sheet", "check a scan sheet"),
    "pair-scans": ("msdiff.cli.pair_scans", "pair every follow-up with the scan before it"),
    "assign-fold": ("msdiff.cli.assign_fold", "assign patients to train, validation and test"),
    # Imaging, and stacks of its scans.
    "register": ("msdiff.cli.register", "bring a patient's scans to one unbiased space and the common grid"),
    "correct-bias": ("msdiff.cli.correct_bias", "remove the bias field of a patient's scans"),
    "strip-skull": ("msdiff.cli.strip_skull", "find the brain in a patient's scans"),
    "normalise": ("msdiff.cli.normalise", "bring a patient's intensities to [-1, 1], measured on the baseline"),
    "parcellate": ("msdiff.cli.parcellate", "label the brain regions of a patient"),
    "check-quality": ("msdiff.cli.check_quality", "measure and picture a patient's scans; flag the faulty"),
    "train-parcellator": ("msdiff.cli.train_parcellator", "train the SynthSeg network on painted label maps"),
    "export-parcellator": ("msdiff.cli.export_parcellator", "write the trained SynthSeg network as a Keras file"),
    "stack-scans": ("msdiff.cli.stack_scans", "one memory-mapped array per contrast"),
    "index-slices": ("msdiff.cli.index_slices", "what every pair of scans holds, slice by slice"),
    # Forecasts.
    "cut-slabs": ("msdiff.cli.cut_slabs", "middle slices of three sessions, ready for the networks that forecast"),
    "train-prior": ("msdiff.cli.train_prior", "train the prior of forecasts: new lesions by treatment"),
    "train-control": ("msdiff.cli.train_control", "train the ControlNet of forecasts on the prior"),
    "sample-forecasts": ("msdiff.cli.sample_forecasts", "sample one shard of a purpose's forecasts"),
    "score-forecasts": ("msdiff.cli.score_forecasts", "count and place the lesions of a purpose's forecasts"),
    # Synthesis.
    "train-generator": ("msdiff.cli.train_generator", "train a generator of follow-up scans"),
    "plan-samples": ("msdiff.cli.plan_samples", "list what to generate: baseline, change mask, seed"),
    "sample-images": ("msdiff.cli.sample_images", "generate one shard of a plan"),
    "export-samples": ("msdiff.cli.export_samples", "write generated follow-ups as NIfTI files with sidecars"),
    "score-images": ("msdiff.cli.score_images", "compare generated with real follow-ups, one row per sample"),
    # Detection of new lesions.
    "mix-slices": ("msdiff.cli.mix_slices", "list a detector's training slices, real and synthetic"),
    "train-detector": ("msdiff.cli.train_detector", "train a detector of new lesions"),
    "detect-lesions": ("msdiff.cli.detect_lesions", "find new lesions in test patients and score them"),
    # Reader study, and privacy.
    "reader-study": ("msdiff.cli.reader_study", "a blinded study of readers: its page, its answers"),
    "check-leakage": ("msdiff.cli.check_leakage", "stop where a held-out patient fed the generator"),
    "train-embedding": ("msdiff.cli.train_embedding", "train the embedding that finds copies of slices"),
    "find-nearest": ("msdiff.cli.find_nearest", "the training follow-up most like each synthetic one"),
    "plot-nearest": ("msdiff.cli.plot_nearest", "pictures of the synthetic follow-ups most like training ones"),
    # Tables, figures, report and cards.
    "table": ("msdiff.cli.table", "write one table of the results, by its name"),
    "plot-figures": ("msdiff.cli.plot_figures", "figures of the report"),
    "provenance": ("msdiff.cli.provenance", "record what ran: versions, commit, settings, seeds"),
    "model-card": ("msdiff.cli.model_card", "model card of the generators, from the run's record"),
    "datasheet": ("msdiff.cli.datasheet", "datasheet of the synthetic follow-ups, from the run's record"),
    "report": ("msdiff.cli.report", "one self-contained page of tables and figures"),
    # A run, before and while it goes on.
    "config-schema": ("msdiff.cli.config_schema", "write the schema of the config from the stages' settings"),
    "cluster": ("msdiff.cli.cluster", "propose the partitions of a Slurm cluster"),
    "plan": ("msdiff.cli.plan", "tell what a run will cost, before it starts"),
    "status": ("msdiff.cli.status", "tell what of a run is done, running, waiting, failed and why"),
}
