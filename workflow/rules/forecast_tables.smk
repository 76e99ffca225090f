"""The tables of the forecasts: how well they foretell, how many lesions under which treatment, how far to trust them.

Reads   results/forecasting/{cohort}/slabs/, results/forecasting/{cohort}/forecasts/{purpose}/scores/
Writes  results/tables/
"""

FORECAST_TABLES = [
    "regional_accuracy",
    "activity_prediction",
    "lesion_count",
    "counterfactuals",
    "calibration",
]
# What was trained and drawn for them, as MADE.
FORECAST_MADE = [
    SLABS,
    *FORECAST_WEIGHTS.values(),
    *[shard for shards in FORECAST_SHARDS.values() for shard in shards],
    *FORECAST_SCORES.values(),
]


rule regional_accuracy:
    input:
        slabs=forecast("slabs"),
        validation=forecast("forecasts/validation/scores"),
        test=forecast("forecasts/test/scores"),
    output:
        table=report(
            "results/tables/regional_accuracy.csv",
            caption="../report/regional_accuracy.rst",
            category="tables",
        ),
    log:
        "results/logs/regional_accuracy.log",
    benchmark:
        "results/benchmarks/regional_accuracy.tsv"
    group:
        "forecasts"
    conda:
        "../../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(15),
    params:
        cohort=FORECAST,
        regional=settings("forecasting/regional"),
        monte_carlo=settings("forecasting/monte_carlo"),
        settings=settings("tables"),
    shell:
        r"""
        python -m msdiff regional-accuracy \
            --cohort {params.cohort:q} \
            --slabs {input.slabs:q} \
            --validation {input.validation:q} \
            --test {input.test:q} \
            --out {output.table:q} \
            --regional {params.regional:q} \
            --monte-carlo {params.monte_carlo:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule activity_prediction:
    input:
        slabs=forecast("slabs"),
        test=forecast("forecasts/test/scores"),
    output:
        table=report(
            "results/tables/activity_prediction.csv",
            caption="../report/activity_prediction.rst",
            category="tables",
        ),
    log:
        "results/logs/activity_prediction.log",
    benchmark:
        "results/benchmarks/activity_prediction.tsv"
    group:
        "forecasts"
    conda:
        "../../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(15),
    params:
        cohort=FORECAST,
        monte_carlo=settings("forecasting/monte_carlo"),
        settings=settings("tables"),
    shell:
        r"""
        python -m msdiff activity-prediction \
            --cohort {params.cohort:q} \
            --slabs {input.slabs:q} \
            --test {input.test:q} \
            --out {output.table:q} \
            --monte-carlo {params.monte_carlo:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule lesion_count:
    input:
        slabs=forecast("slabs"),
        test=forecast("forecasts/test/scores"),
    output:
        table=report(
            "results/tables/lesion_count.csv",
            caption="../report/lesion_count.rst",
            category="tables",
        ),
    log:
        "results/logs/lesion_count.log",
    benchmark:
        "results/benchmarks/lesion_count.tsv"
    group:
        "forecasts"
    conda:
        "../../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(15),
    params:
        cohort=FORECAST,
        settings=settings("tables"),
    shell:
        r"""
        python -m msdiff lesion-count \
            --cohort {params.cohort:q} \
            --slabs {input.slabs:q} \
            --test {input.test:q} \
            --out {output.table:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule counterfactuals:
    input:
        slabs=forecast("slabs"),
        counterfactuals=forecast("forecasts/counterfactuals/scores"),
    output:
        table=report(
            "results/tables/counterfactuals.csv",
            caption="../report/counterfactuals.rst",
            category="tables",
        ),
    log:
        "results/logs/counterfactuals.log",
    benchmark:
        "results/benchmarks/counterfactuals.tsv"
    group:
        "forecasts"
    conda:
        "../../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(15),
    params:
        cohort=FORECAST,
        settings=settings("tables"),
    shell:
        r"""
        python -m msdiff counterfactuals \
            --cohort {params.cohort:q} \
            --slabs {input.slabs:q} \
            --counterfactuals {input.counterfactuals:q} \
            --out {output.table:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule calibration:
    input:
        slabs=forecast("slabs"),
        test=forecast("forecasts/test/scores"),
    output:
        table=report(
            "results/tables/calibration.csv",
            caption="../report/calibration.rst",
            category="tables",
        ),
    log:
        "results/logs/calibration.log",
    benchmark:
        "results/benchmarks/calibration.tsv"
    group:
        "forecasts"
    conda:
        "../../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(15),
    params:
        cohort=FORECAST,
        calibration=settings("forecasting/calibration"),
        settings=settings("tables"),
    shell:
        r"""
        python -m msdiff calibration \
            --cohort {params.cohort:q} \
            --slabs {input.slabs:q} \
            --test {input.test:q} \
            --out {output.table:q} \
            --calibration {params.calibration:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """
