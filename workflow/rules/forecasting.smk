"""Forecast new lesions under a treatment: slabs, two stages of training, draws in shards, what is read out of them.

Reads   results/preprocessed/{cohort}/stack/, results/cohorts/{cohort}/folds/split.tsv
Writes  results/forecasting/{cohort}/slabs/
        results/forecasting/{cohort}/prior/             stage 1: weights, history
        results/forecasting/{cohort}/{model}/           stage 2: weights, history
        results/forecasting/{cohort}/forecasts/{purpose}/{shards/{shard},scores}/
"""


rule cut_slabs:
    input:
        stack=forecastable_stack,
    output:
        slabs=directory("results/forecasting/{cohort}/slabs"),
    log:
        "results/logs/cut_slabs/{cohort}.log",
    benchmark:
        "results/benchmarks/cut_slabs/{cohort}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=minutes(120),
    params:
        settings=settings(
            slabs="forecasting/slabs",
            arms="forecasting/arms",
            readout="forecasting/readout",
        ),
    shell:
        r"""
        python -m msdiff cut-slabs \
            --stack {input.stack:q} \
            --out {output.slabs:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule train_prior:
    input:
        slabs=INDEXED_SLABS,
    output:
        weights="results/forecasting/{cohort}/prior/weights.safetensors",
        history="results/forecasting/{cohort}/prior/history.csv",
    log:
        "results/logs/train_prior/{cohort}.log",
    benchmark:
        "results/benchmarks/train_prior/{cohort}.tsv"
    # The longest chain of the forecasts' jobs goes through it.
    priority: 1
    retries: TRAINING_RETRIES
    conda:
        "../../envs/torch.yaml"
    threads: 8
    resources:
        gpu=1,
        gpu_model=GPU_MODEL,
        nodes=1,
        mem_mb=memory(64000, GPU_NODE, times=2),
        runtime=min(1440, TRAINING_LIMIT),
        slurm_extra=STOP_SIGNAL,
    params:
        # Not an output: Snakemake deletes a job's outputs before every attempt.
        checkpoints="results/forecasting/{cohort}/prior/checkpoints",
        settings=settings(network="forecasting/network", prior="forecasting/prior"),
    shell:
        r"""
        exec python -m msdiff train-prior \
            --slabs {input.slabs:q} \
            --checkpoints {params.checkpoints:q} \
            --weights {output.weights:q} \
            --history {output.history:q} \
            --compile accelerator \
            --minutes {resources.runtime} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule train_control:
    input:
        slabs=INDEXED_SLABS,
        prior="results/forecasting/{cohort}/prior/weights.safetensors",
    output:
        weights="results/forecasting/{cohort}/{model}/weights.safetensors",
        history="results/forecasting/{cohort}/{model}/history.csv",
    log:
        "results/logs/train_control/{cohort}/{model}.log",
    benchmark:
        "results/benchmarks/train_control/{cohort}/{model}.tsv"
    priority: 1
    retries: TRAINING_RETRIES
    conda:
        "../../envs/torch.yaml"
    threads: 8
    resources:
        gpu=1,
        gpu_model=GPU_MODEL,
        nodes=1,
        mem_mb=memory(64000, GPU_NODE, times=2),
        runtime=min(1440, TRAINING_LIMIT),
        slurm_extra=STOP_SIGNAL,
    params:
        checkpoints="results/forecasting/{cohort}/{model}/checkpoints",
        settings=settings(
            control="forecasting/control", model="forecasting/models/{model}"
        ),
    shell:
        r"""
        exec python -m msdiff train-control \
            --slabs {input.slabs:q} \
            --prior {input.prior:q} \
            --model {wildcards.model} \
            --checkpoints {params.checkpoints:q} \
            --weights {output.weights:q} \
            --history {output.history:q} \
            --compile accelerator \
            --minutes {resources.runtime} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule sample_forecasts:
    input:
        slabs=INDEXED_SLABS,
        weights=lambda wildcards: (
            f"results/forecasting/{wildcards.cohort}/{DRAWS[wildcards.purpose]['model']}/weights.safetensors"
        ),
    output:
        shard=directory(
            "results/forecasting/{cohort}/forecasts/{purpose}/shards/{shard}"
        ),
    log:
        "results/logs/sample_forecasts/{cohort}/{purpose}_{shard}.log",
    benchmark:
        "results/benchmarks/sample_forecasts/{cohort}/{purpose}_{shard}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 4
    resources:
        gpu=1,
        gpu_model=GPU_MODEL,
        nodes=1,
        mem_mb=memory(32000, GPU_NODE),
        runtime=minutes(120, GPU_NODE),
        # What fits the accelerator's memory. Not a param: a draw stays the same, and another batch samples nothing anew.
        sample_batch=config["forecasting"]["sample_batch"],
    params:
        shards=lambda wildcards: DRAWS[wildcards.purpose]["shards"],
        settings=settings(
            seed="forecasting/seed",
            voxel_threshold="forecasting/voxel_threshold",
            sampler="forecasting/sampler",
            draws="forecasting/draws/{purpose}",
        ),
    shell:
        r"""
        python -m msdiff sample-forecasts \
            --slabs {input.slabs:q} \
            --weights {input.weights:q} \
            --purpose {wildcards.purpose} \
            --shard {wildcards.shard} \
            --shards {params.shards} \
            --batch {resources.sample_batch} \
            --threads {threads} \
            --compile accelerator \
            --out {output.shard:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule score_forecasts:
    input:
        slabs="results/forecasting/{cohort}/slabs",
        shards=lambda wildcards: forecast_shards(wildcards.cohort, wildcards.purpose),
    output:
        scores=directory("results/forecasting/{cohort}/forecasts/{purpose}/scores"),
    log:
        "results/logs/score_forecasts/{cohort}/{purpose}.log",
    benchmark:
        "results/benchmarks/score_forecasts/{cohort}/{purpose}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=minutes(240),
    params:
        settings=settings("forecasting/readout"),
    shell:
        r"""
        python -m msdiff score-forecasts \
            --slabs {input.slabs:q} \
            --shards {input.shards:q} \
            --out {output.scores:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """
