"""Privacy: who fed a generator, and whether its follow-ups are too much like those of its training patients.

Reads   results/preprocessed/{cohort}/stack/, results/cohorts/{cohort}/, results/synthesis/{cohort}/
Writes  results/privacy/{cohort}/embedding/             the encoder that finds copies
        results/privacy/{cohort}/{generator}/           leakage.json, nearest.tsv, pictures
"""


rule check_leakage:
    input:
        stack=INDEXED_STACK,
        plan="results/synthesis/{cohort}/{generator}/mass/plan.tsv",
        shards=shards("mass"),
        generator="results/synthesis/{cohort}/{generator}/weights.safetensors",
        auxiliary="results/synthesis/{cohort}/auxiliary/weights.safetensors",
        slices="results/synthesis/{cohort}/auxiliary/slices.tsv",
    output:
        # Mixes with synthetic slices wait for it: no detector trains on leaked patients.
        record="results/privacy/{cohort}/{generator}/leakage.json",
    log:
        "results/logs/check_leakage/{cohort}/{generator}.log",
    benchmark:
        "results/benchmarks/check_leakage/{cohort}/{generator}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(30),
    params:
        row_keys=row_keys("generator"),
    shell:
        r"""
        python -m msdiff check-leakage \
            --stack {input.stack:q} \
            --plan {input.plan:q} \
            --shards {input.shards:q} \
            --generator {input.generator:q} \
            --auxiliary {input.auxiliary:q} \
            --auxiliary-slices {input.slices:q} \
            --keys {params.row_keys:q} \
            --out {output.record:q} >{log:q} 2>&1
        """


rule train_embedding:
    input:
        stack=INDEXED_STACK,
    output:
        weights="results/privacy/{cohort}/embedding/weights.safetensors",
        history="results/privacy/{cohort}/embedding/history.csv",
    log:
        "results/logs/train_embedding/{cohort}.log",
    benchmark:
        "results/benchmarks/train_embedding/{cohort}.tsv"
    retries: TRAINING_RETRIES
    conda:
        "../../envs/torch.yaml"
    # Small enough for processors: minutes at paper scale.
    threads: 4
    resources:
        mem_mb=memory(8000, times=2),
        runtime=min(120, CPU_NODE["max_runtime"]),
        slurm_extra=STOP_SIGNAL,
    params:
        # Not an output: Snakemake deletes a job's outputs before every attempt.
        checkpoints="results/privacy/{cohort}/embedding/checkpoints",
        settings=settings("privacy/embedding", slices="privacy/slices"),
    shell:
        r"""
        exec python -m msdiff train-embedding \
            --stack {input.stack:q} \
            --checkpoints {params.checkpoints:q} \
            --weights {output.weights:q} \
            --history {output.history:q} \
            --minutes {resources.runtime} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule find_nearest:
    input:
        stack=INDEXED_STACK,
        shards=shards("mass"),
        embedding="results/privacy/{cohort}/embedding/weights.safetensors",
    output:
        nearest="results/privacy/{cohort}/{generator}/nearest.tsv",
    log:
        "results/logs/find_nearest/{cohort}/{generator}.log",
    benchmark:
        "results/benchmarks/find_nearest/{cohort}/{generator}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=memory(8000),
        runtime=minutes(60),
    params:
        row_keys=row_keys("generator"),
        settings=settings("privacy/nearest"),
    shell:
        r"""
        python -m msdiff find-nearest \
            --stack {input.stack:q} \
            --shards {input.shards:q} \
            --embedding {input.embedding:q} \
            --keys {params.row_keys:q} \
            --threads {threads} \
            --out {output.nearest:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule plot_nearest:
    input:
        stack="results/preprocessed/{cohort}/stack",
        shards=shards("mass"),
        nearest="results/privacy/{cohort}/{generator}/nearest.tsv",
    output:
        pictures=directory("results/privacy/{cohort}/{generator}/pictures"),
    log:
        "results/logs/plot_nearest/{cohort}/{generator}.log",
    benchmark:
        "results/benchmarks/plot_nearest/{cohort}/{generator}.tsv"
    conda:
        "../../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(15),
    params:
        contrast=config["privacy"]["slices"]["contrast"],
        settings=settings("privacy/pictures"),
    shell:
        r"""
        python -m msdiff plot-nearest \
            --stack {input.stack:q} \
            --contrast {params.contrast:q} \
            --shards {input.shards:q} \
            --nearest {input.nearest:q} \
            --out {output.pictures:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """
