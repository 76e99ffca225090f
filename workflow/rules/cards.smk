"""The model card of generators and forecasters and the datasheet of what they drew, written from the run's own record.

Reads   results/provenance.json, results/tables/, results/synthesis/, results/forecasting/,
        results/preprocessed/{cohort}/stack/
Writes  results/model_card.md, results/datasheet.md
"""

CARDS = ["results/model_card.md", "results/datasheet.md"]
MASS = expand(
    "results/synthesis/{cohort}/{generator}/mass/shards/{shard}",
    cohort=STUDY,
    generator=GENERATORS,
    shard=SHARDS["mass"],
)
TOLD_FORECASTERS = [(name, WEIGHTS[name]) for name in FORECASTERS if FORECASTS]


rule model_card:
    input:
        expand("results/tables/{table}.csv", table=TABLES),
        SHOWN_SLABS,
        [path for _, path in TOLD_FORECASTERS],
        weights=[WEIGHTS[generator] for generator in GENERATORS],
        provenance="results/provenance.json",
        stack=STACK,
    output:
        card="results/model_card.md",
    log:
        "results/logs/model_card.log",
    localrule: True
    conda:
        "../../envs/torch.yaml"
    params:
        weights=[f"{generator}={WEIGHTS[generator]}" for generator in GENERATORS],
        forecasters=[
            *option("--slabs", SHOWN_SLABS),
            *option("--forecasters", TOLD_FORECASTERS),
        ],
    shell:
        r"""
        python -m msdiff model-card \
            --provenance {input.provenance:q} \
            --tables results/tables \
            --stack {input.stack:q} \
            --weights {params.weights:q} \
            {params.forecasters:q} \
            --out {output.card:q} >{log:q} 2>&1
        """


rule datasheet:
    input:
        expand("results/tables/{table}.csv", table=TABLES),
        [path for _, path in SHOWN_SHARDS],
        shards=MASS,
        provenance="results/provenance.json",
        stack=STACK,
    output:
        card="results/datasheet.md",
    log:
        "results/logs/datasheet.log",
    localrule: True
    conda:
        "../../envs/torch.yaml"
    params:
        forecasts=option("--forecast-shards", SHOWN_SHARDS),
    shell:
        r"""
        python -m msdiff datasheet \
            --provenance {input.provenance:q} \
            --tables results/tables \
            --stack {input.stack:q} \
            --shards {input.shards:q} \
            {params.forecasts:q} \
            --out {output.card:q} >{log:q} 2>&1
        """
