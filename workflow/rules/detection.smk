"""Detectors of new lesions, by architecture, mix of real and synthetic slices, and seed.

Reads   results/preprocessed/{cohort}/stack/, results/cohorts/{cohort}/{slices.tsv,folds/split.tsv},
        results/synthesis/{cohort}/{generator}/mass/shards/
Writes  results/detection/{cohort}/{generator}/mixes/{mix}_seed-{seed}.tsv
        results/detection/{cohort}/{generator}/{architecture}/{mix}/seed-{seed}/
"""


rule mix_slices:
    input:
        stack=INDEXED_STACK,
        shards=mixed_shards,
        leakage=leakage_check,
    output:
        mix="results/detection/{cohort}/{generator}/mixes/{mix}_seed-{seed}.tsv",
    log:
        "results/logs/mix_slices/{cohort}/{generator}_{mix}_seed-{seed}.log",
    localrule: True
    conda:
        "../../envs/torch.yaml"
    params:
        shards=lambda wildcards, input: (
            ["--shards", *input.shards] if input.shards else []
        ),
        settings=settings("detection/slices"),
    shell:
        r"""
        python -m msdiff mix-slices \
            --stack {input.stack:q} \
            --mix {wildcards.mix} \
            --seed {wildcards.seed} \
            {params.shards:q} \
            --out {output.mix:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule train_detector:
    input:
        stack=INDEXED_STACK,
        shards=mixed_shards,
        mix="results/detection/{cohort}/{generator}/mixes/{mix}_seed-{seed}.tsv",
    output:
        weights="results/detection/{cohort}/{generator}/{architecture}/{mix}/seed-{seed}/weights.safetensors",
        history="results/detection/{cohort}/{generator}/{architecture}/{mix}/seed-{seed}/history.csv",
    log:
        "results/logs/train_detector/{cohort}/{generator}_{architecture}_{mix}_seed-{seed}.log",
    benchmark:
        "results/benchmarks/train_detector/{cohort}/{generator}_{architecture}_{mix}_seed-{seed}.tsv"
    retries: TRAINING_RETRIES
    conda:
        "../../envs/torch.yaml"
    threads: 4
    resources:
        gpu=1,
        gpu_model=GPU_MODEL,
        nodes=1,
        mem_mb=memory(16000, GPU_NODE, times=2),
        runtime=min(480, TRAINING_LIMIT),
        slurm_extra=STOP_SIGNAL,
    params:
        # Not an output: Snakemake deletes a job's outputs before every attempt.
        checkpoints="results/detection/{cohort}/{generator}/{architecture}/{mix}/seed-{seed}/checkpoints",
        settings=settings("detection/detectors/{architecture}"),
    shell:
        r"""
        exec python -m msdiff train-detector \
            --stack {input.stack:q} \
            --slices {input.mix:q} \
            --checkpoints {params.checkpoints:q} \
            --weights {output.weights:q} \
            --history {output.history:q} \
            --seed {wildcards.seed} \
            --minutes {resources.runtime} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule detect_lesions:
    input:
        stack=INDEXED_STACK,
        weights="results/detection/{cohort}/{generator}/{architecture}/{mix}/seed-{seed}/weights.safetensors",
        mix="results/detection/{cohort}/{generator}/mixes/{mix}_seed-{seed}.tsv",
    output:
        scores=directory(
            "results/detection/{cohort}/{generator}/{architecture}/{mix}/seed-{seed}/scores"
        ),
    log:
        "results/logs/detect_lesions/{cohort}/{generator}_{architecture}_{mix}_seed-{seed}.log",
    benchmark:
        "results/benchmarks/detect_lesions/{cohort}/{generator}_{architecture}_{mix}_seed-{seed}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=memory(8000),
        runtime=minutes(60),
    params:
        row_keys=row_keys("generator", "architecture", "mix", "seed"),
        split="test",
        settings=settings("detection/scoring"),
    shell:
        r"""
        python -m msdiff detect-lesions \
            --stack {input.stack:q} \
            --weights {input.weights:q} \
            --slices {input.mix:q} \
            --keys {params.row_keys:q} \
            --split {params.split} \
            --threads {threads} \
            --out {output.scores:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """
