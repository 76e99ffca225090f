"""What Long-MS-Diff makes: generators and their ablation, detectors of new lesions on mixes, privacy, the reader study.

Its rules stand in synthesis.smk, detection.smk, privacy.smk and reader_study.smk.
"""

# A run of a detector, and what it is of.
DETECTORS = {
    f"{generator}/{architecture}/{mix}/seed-{seed}": (
        f"results/detection/{STUDY}/{generator}/{architecture}/{mix}/seed-{seed}"
    )
    for generator in GENERATORS
    for architecture in ARCHITECTURES
    for mix in MIXES
    for seed in SEEDS
}
SCORES = [f"{run}/scores" for run in DETECTORS.values()]
IMAGE_SCORES, ABLATION_SCORES = (
    expand(
        "results/synthesis/{cohort}/{generator}/image_scores.tsv",
        cohort=STUDY,
        generator=generators,
    )
    for generators in [GENERATORS, ABLATED]
)
HELD_OUT, MASS = (
    [
        path.format(cohort=STUDY, generator=generator)
        for generator in GENERATORS
        for path in shards(purpose)
    ]
    for purpose in ["held_out", "mass"]
)
READER_PAGE = f"results/reader_study/{STUDY}/reader/reader_study.html"
TRAINED = {
    name: f"results/synthesis/{STUDY}/{name}"
    for name in ["auxiliary", *GENERATORS, *ABLATED]
}
GENERATOR_WEIGHTS = [
    (name, f"{TRAINED[name]}/weights.safetensors") for name in GENERATORS
]

SYSTEMS["long_ms_diff"] = System(
    cohort=STUDY,
    lacking="",
    tables={
        "augmentation": table(runs=SCORES, group="tables"),
        "augmentation_tests": table(runs=SCORES, group="tables"),
        "lesion_sizes": table(runs=SCORES, group="tables"),
        "lesions": table(runs=SCORES, local=True),
        "image_quality": table(scores=IMAGE_SCORES),
        # The pictures of what a row flags stand beside it.
        "privacy": table(
            nearest=of_generators("results/privacy/{cohort}/{generator}/nearest.tsv"),
            leakage=of_generators("results/privacy/{cohort}/{generator}/leakage.json"),
            after=of_generators("results/privacy/{cohort}/{generator}/pictures"),
            sections=["tables", "privacy/nearest"],
        ),
        **({"ablation": table(scores=ABLATION_SCORES)} if ABLATED else {}),
    },
    weights={
        name: f"{TRAINED[name]}/weights.safetensors"
        for name in ["auxiliary", *GENERATORS]
    },
    histories={
        **{name: f"{TRAINED[name]}/history.csv" for name in ["auxiliary", *GENERATORS]},
        # Panel, curve and seed.
        **{
            name.removeprefix(f"{FIRST_GENERATOR}/"): f"{run}/history.csv"
            for name, run in DETECTORS.items()
            if name.startswith(f"{FIRST_GENERATOR}/")
        },
    },
    made=[
        f"results/privacy/{STUDY}/embedding/weights.safetensors",
        *[f"{folder}/weights.safetensors" for folder in TRAINED.values()],
        *MASS,
        *HELD_OUT,
        *expand(
            "results/synthesis/{cohort}/{generator}/held_out/shards/{shard}",
            cohort=STUDY,
            generator=ABLATED,
            shard=SHARDS["held_out"][:1],
        ),
        *[f"{run}/weights.safetensors" for run in DETECTORS.values()],
        *SCORES,
        *IMAGE_SCORES,
        *ABLATION_SCORES,
        READER_PAGE,
    ],
    figures={
        "--held-out": HELD_OUT,
        "--previews": [f"{TRAINED[FIRST_GENERATOR]}/previews"],
    },
    page={
        "--privacy-figures": [
            (generator, f"results/privacy/{STUDY}/{generator}/pictures")
            for generator in GENERATORS
        ],
        "--reader-pages": [READER_PAGE],
    },
    provenance={},
    model_card={"--weights": GENERATOR_WEIGHTS},
    datasheet={"--shards": MASS},
)
