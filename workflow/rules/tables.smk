"""The tables, the figures, the provenance record and the report.

Reads   results/detection/, results/synthesis/, results/forecasting/,
        results/preprocessed/{cohort}/{stack,quality}/, results/benchmarks/
Writes  results/tables/, results/figures/, results/provenance.json, results/report.html
"""

STACK = f"results/preprocessed/{STUDY}/stack"
# The cohorts that something was learned on.
LEARNED_ON = [STUDY, FORECAST] if FORECASTS and FORECAST != STUDY else [STUDY]
SHEET = config["cohort"][STUDY]["sheet"] or f"results/cohorts/{STUDY}/sheet.tsv"
QUALITY = expand(
    "results/preprocessed/{cohort}/quality/{subject}",
    cohort=STUDY,
    subject=SUBJECTS[STUDY],
)
SCORES = expand(
    "results/detection/{cohort}/{generator}/{architecture}/{mix}/seed-{seed}/scores",
    cohort=STUDY,
    generator=GENERATORS,
    architecture=ARCHITECTURES,
    mix=MIXES,
    seed=SEEDS,
)
IMAGE_SCORES = expand(
    "results/synthesis/{cohort}/{generator}/image_scores.tsv",
    cohort=STUDY,
    generator=GENERATORS,
)
ABLATION_SCORES = expand(
    "results/synthesis/{cohort}/{generator}/image_scores.tsv",
    cohort=STUDY,
    generator=ABLATED,
)
HELD_OUT = expand(
    "results/synthesis/{cohort}/{generator}/held_out/shards/{shard}",
    cohort=STUDY,
    generator=GENERATORS,
    shard=SHARDS["held_out"],
)
WEIGHTS = {
    name: f"results/synthesis/{STUDY}/{name}/weights.safetensors"
    for name in ["auxiliary", *GENERATORS]
} | (FORECAST_WEIGHTS if FORECASTS else {})
HISTORIES = {
    "auxiliary": f"results/synthesis/{STUDY}/auxiliary/history.csv",
    **{
        generator: f"results/synthesis/{STUDY}/{generator}/history.csv"
        for generator in GENERATORS
    },
    **(FORECAST_HISTORIES if FORECASTS else {}),
    # Panel, curve and seed.
    **{
        f"{architecture}/{mix}/seed-{seed}": (
            f"results/detection/{STUDY}/{GENERATORS[0]}/{architecture}/{mix}/seed-{seed}/history.csv"
        )
        for architecture in ARCHITECTURES
        for mix in MIXES
        for seed in SEEDS
    },
}
# What figures and cards tell of the forecasts, by purpose; nothing where the study has none.
SHOWN_SLABS = [SLABS] if FORECASTS else []
SHOWN_SCORES = [
    (purpose, FORECAST_SCORES[purpose])
    for purpose in ["test", "heat_maps", "counterfactuals"]
    if FORECASTS
]
SHOWN_SHARDS = [
    (purpose, shard)
    for purpose in ["test", "counterfactuals"]
    if FORECASTS
    for shard in FORECAST_SHARDS[purpose]
]
# What was trained and drawn, and what it was trained on. `all` asks for it by name: when a run is killed while it makes one
# of these anew, the old one is gone, and Snakemake does not miss what lies behind results that exist.
MADE = [
    *expand("results/preprocessed/{cohort}/stack", cohort=LEARNED_ON),
    f"results/privacy/{STUDY}/embedding/weights.safetensors",
    *expand(
        "results/synthesis/{cohort}/{trained}/weights.safetensors",
        cohort=STUDY,
        trained=["auxiliary", *GENERATORS, *ABLATED],
    ),
    *expand(
        "results/synthesis/{cohort}/{generator}/mass/shards/{shard}",
        cohort=STUDY,
        generator=GENERATORS,
        shard=SHARDS["mass"],
    ),
    *HELD_OUT,
    *expand(
        "results/synthesis/{cohort}/{generator}/held_out/shards/{shard}",
        cohort=STUDY,
        generator=ABLATED,
        shard=SHARDS["held_out"][:1],
    ),
    *[f"{scores.removesuffix('scores')}weights.safetensors" for scores in SCORES],
    *SCORES,
    *IMAGE_SCORES,
    *ABLATION_SCORES,
    *(FORECAST_MADE if FORECASTS else []),
]


# The tables of the report: a line here, msdiff/tables/NAME.py and msdiff/report/captions/NAME.rst (docs/extending.md).
TABLES = {
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
    "ablation": table(scores=ABLATION_SCORES),
    **(FORECAST_TABLES if FORECASTS else {}),
    "cohort": table(
        None,
        {"cohorts": LEARNED_ON},
        stacks=expand("results/preprocessed/{cohort}/stack", cohort=LEARNED_ON),
    ),
    "quality": table(folders=QUALITY, sections=[], local=True),
}
# Its benchmarks are complete when the other tables exist.
TABLES["compute"] = table(
    None,
    {"benchmarks": ["results/benchmarks"]},
    after=[f"results/tables/{name}.csv" for name in TABLES],
    sections=[],
    local=True,
)
# Those that are made when asked for by name, too.
EVERY_TABLE = {
    **TABLES,
    **FORECAST_TABLES,
    "reader_study": table(
        answers=f"results/reader_study/{STUDY}/answers.tsv", local=True
    ),
}

for name, made_from in EVERY_TABLE.items():

    if made_from.local:

        rule:
            name:
                name
            input:
                made_from.after,
                **made_from.files,
            output:
                table=report(
                    f"results/tables/{name}.csv",
                    caption=f"../report/{name}.rst",
                    category="tables",
                ),
            log:
                f"results/logs/{name}.log",
            localrule: True
            conda:
                "../../envs/tables.yaml"
            params:
                name=name,
                values=made_from.options,
                inputs=table_inputs,
                settings=made_from.settings,
            shell:
                TABLE_COMMAND

    else:

        rule:
            name:
                name
            input:
                made_from.after,
                **made_from.files,
            output:
                table=report(
                    f"results/tables/{name}.csv",
                    caption=f"../report/{name}.rst",
                    category="tables",
                ),
            log:
                f"results/logs/{name}.log",
            benchmark:
                f"results/benchmarks/{name}.tsv"
            group:
                made_from.group
            conda:
                "../../envs/tables.yaml"
            resources:
                mem_mb=memory(4000),
                runtime=minutes(15),
            params:
                name=name,
                values=made_from.options,
                inputs=table_inputs,
                settings=made_from.settings,
            shell:
                TABLE_COMMAND


rule plot_figures:
    input:
        HELD_OUT,
        HISTORIES.values(),
        expand("results/tables/{table}.csv", table=TABLES),
        SHOWN_SLABS,
        [path for _, path in [*SHOWN_SCORES, *SHOWN_SHARDS]],
        stack=STACK,
        previews=f"results/synthesis/{STUDY}/{GENERATORS[0]}/previews",
    output:
        figures=directory("results/figures"),
    log:
        "results/logs/plot_figures.log",
    benchmark:
        "results/benchmarks/plot_figures.tsv"
    conda:
        "../../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(15),
    params:
        held_out=HELD_OUT,
        histories=[f"{name}={path}" for name, path in HISTORIES.items()],
        forecasts=[
            *option("--slabs", SHOWN_SLABS),
            *option("--forecasts", SHOWN_SCORES),
            *option("--forecast-shards", SHOWN_SHARDS),
        ],
        settings=settings("tables"),
    shell:
        r"""
        python -m msdiff plot-figures \
            --stack {input.stack:q} \
            --held-out {params.held_out:q} \
            --histories {params.histories:q} \
            --previews {input.previews:q} \
            {params.forecasts:q} \
            --tables results/tables \
            --out {output.figures:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule provenance:
    input:
        WEIGHTS.values(),
        SHOWN_SLABS,
        tables=expand("results/tables/{table}.csv", table=TABLES),
        stack=STACK,
        sheet=SHEET,
    output:
        record="results/provenance.json",
    log:
        "results/logs/provenance.log",
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        config=lambda wildcards: json.dumps(config, sort_keys=True),
        weights=[f"{name}={path}" for name, path in WEIGHTS.items()],
        slabs=option("--slabs", SHOWN_SLABS),
    shell:
        r"""
        python -m msdiff provenance \
            --config {params.config:q} \
            --stack {input.stack:q} \
            --sheet {input.sheet:q} \
            --weights {params.weights:q} \
            {params.slabs:q} \
            --tables {input.tables:q} \
            --out {output.record:q} >{log:q} 2>&1
        """


rule report:
    input:
        expand("results/tables/{table}.csv", table=TABLES),
        figures="results/figures",
        provenance="results/provenance.json",
        stack=STACK,
        scans=QUALITY,
        sheet=SHEET,
        cards=["results/model_card.md", "results/datasheet.md"],
        readers=f"results/reader_study/{STUDY}/reader/reader_study.html",
        privacy=expand(
            "results/privacy/{cohort}/{generator}/pictures",
            cohort=STUDY,
            generator=GENERATORS,
        ),
    output:
        page="results/report.html",
    log:
        "results/logs/report.log",
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        pictures=lambda wildcards, input: os.path.dirname(input.scans[0]),
        privacy=[
            f"{generator}=results/privacy/{STUDY}/{generator}/pictures"
            for generator in GENERATORS
        ],
    shell:
        r"""
        python -m msdiff report \
            --tables results/tables \
            --figures {input.figures:q} \
            --privacy-figures {params.privacy:q} \
            --provenance {input.provenance:q} \
            --stack {input.stack:q} \
            --pictures {params.pictures:q} \
            --sheet {input.sheet:q} \
            --cards {input.cards:q} \
            --reader-pages {input.readers:q} \
            --out {output.page:q} >{log:q} 2>&1
        """
