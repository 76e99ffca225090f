"""The model card of the generators and the datasheet of their follow-ups, written from the run's own record.

Reads   results/provenance.json, results/tables/, results/synthesis/, results/preprocessed/{cohort}/stack/
Writes  results/model_card.md, results/datasheet.md
"""

CARDS = ["results/model_card.md", "results/datasheet.md"]
MASS = expand(
    "results/synthesis/{cohort}/{generator}/mass/shards/{shard}",
    cohort=STUDY,
    generator=GENERATORS,
    shard=SHARDS["mass"],
)


rule model_card:
    input:
        expand("results/tables/{table}.csv", table=TABLES),
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
    shell:
        r"""
        python -m msdiff model-card \
            --provenance {input.provenance:q} \
            --tables results/tables \
            --stack {input.stack:q} \
            --weights {params.weights:q} \
            --out {output.card:q} >{log:q} 2>&1
        """


rule datasheet:
    input:
        expand("results/tables/{table}.csv", table=TABLES),
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
    shell:
        r"""
        python -m msdiff datasheet \
            --provenance {input.provenance:q} \
            --tables results/tables \
            --stack {input.stack:q} \
            --shards {input.shards:q} \
            --out {output.card:q} >{log:q} 2>&1
        """
