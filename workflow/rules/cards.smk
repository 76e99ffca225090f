"""The model card of generators and forecasters and the datasheet of what they sampled, written from the run's own record.

Reads   results/provenance.json, results/tables/, results/synthesis/, results/forecasting/,
        results/preprocessed/{cohort}/stack/
Writes  results/model_card.md, results/datasheet.md
"""

MODEL_CARD, DATASHEET = (
    joined_options(RUNNING, field) for field in ["model_card", "datasheet"]
)


rule model_card:
    input:
        paths(MODEL_CARD),
        expand("results/tables/{table}.csv", table=TABLES),
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
        tables=tables_of_run,
        of_systems=words(MODEL_CARD),
    shell:
        r"""
        python -m msdiff model-card \
            --provenance {input.provenance:q} \
            --tables {params.tables:q} \
            --stack {input.stack:q} \
            {params.of_systems:q} \
            --out {output.card:q} >{log:q} 2>&1
        """


rule datasheet:
    input:
        paths(DATASHEET),
        expand("results/tables/{table}.csv", table=TABLES),
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
        tables=tables_of_run,
        of_systems=words(DATASHEET),
    shell:
        r"""
        python -m msdiff datasheet \
            --provenance {input.provenance:q} \
            --tables {params.tables:q} \
            --stack {input.stack:q} \
            {params.of_systems:q} \
            --out {output.card:q} >{log:q} 2>&1
        """
