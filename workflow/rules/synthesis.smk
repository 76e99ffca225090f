"""Train a generator of follow-up scans, sample follow-ups in shards, score them against real ones.

Reads   results/preprocessed/{cohort}/stack/, results/cohorts/{cohort}/{slices.tsv,folds/split.tsv}
Writes  results/synthesis/{cohort}/auxiliary/           the frozen segmenter behind the auxiliary loss
        results/synthesis/{cohort}/{generator}/         weights, history, previews, plans, shards,
                                                        image_scores.tsv; {generator} is also
                                                        ablation/{variant}/seed-{seed}
"""


rule list_auxiliary_slices:
    input:
        stack=INDEXED_STACK,
    output:
        slices="results/synthesis/{cohort}/auxiliary/slices.tsv",
    log:
        "results/logs/list_auxiliary_slices/{cohort}.log",
    localrule: True
    conda:
        "../../envs/torch.yaml"
    params:
        seed=config["synthesis"]["auxiliary"]["seed"],
        settings=settings("synthesis/auxiliary/slices"),
    shell:
        r"""
        python -m msdiff mix-slices \
            --stack {input.stack:q} \
            --mix 1-0 \
            --seed {params.seed} \
            --out {output.slices:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule train_auxiliary:
    input:
        stack=INDEXED_STACK,
        slices="results/synthesis/{cohort}/auxiliary/slices.tsv",
    output:
        weights="results/synthesis/{cohort}/auxiliary/weights.safetensors",
        history="results/synthesis/{cohort}/auxiliary/history.csv",
    log:
        "results/logs/train_auxiliary/{cohort}.log",
    benchmark:
        "results/benchmarks/train_auxiliary/{cohort}.tsv"
    # The longest chain of jobs goes through it, and through the generator.
    priority: 1
    retries: TRAINING_RETRIES
    conda:
        "../../envs/torch.yaml"
    threads: 4
    resources:
        gpu=1,
        gpu_model=GPU_MODEL,
        nodes=1,
        mem_mb=memory(16000, GPU_NODE, times=2),
        runtime=min(240, TRAINING_LIMIT),
        slurm_extra=STOP_SIGNAL,
    params:
        # Not an output: Snakemake deletes a job's outputs before every attempt.
        checkpoints="results/synthesis/{cohort}/auxiliary/checkpoints",
        seed=config["synthesis"]["auxiliary"]["seed"],
        settings=settings("synthesis/auxiliary/detector"),
    shell:
        r"""
        exec python -m msdiff train-detector \
            --stack {input.stack:q} \
            --slices {input.slices:q} \
            --checkpoints {params.checkpoints:q} \
            --weights {output.weights:q} \
            --history {output.history:q} \
            --seed {params.seed} \
            --minutes {resources.runtime} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule train_generator:
    input:
        stack=INDEXED_STACK,
        auxiliary="results/synthesis/{cohort}/auxiliary/weights.safetensors",
    output:
        weights="results/synthesis/{cohort}/{generator}/weights.safetensors",
        history="results/synthesis/{cohort}/{generator}/history.csv",
        previews=directory("results/synthesis/{cohort}/{generator}/previews"),
    log:
        "results/logs/train_generator/{cohort}/{generator}.log",
    benchmark:
        "results/benchmarks/train_generator/{cohort}/{generator}.tsv"
    wildcard_constraints:
        generator="|".join(GENERATORS),
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
        checkpoints="results/synthesis/{cohort}/{generator}/checkpoints",
        settings=generator_settings,
    shell:
        r"""
        exec python -m msdiff train-generator \
            --stack {input.stack:q} \
            --auxiliary {input.auxiliary:q} \
            --checkpoints {params.checkpoints:q} \
            --weights {output.weights:q} \
            --history {output.history:q} \
            --previews {output.previews:q} \
            --compile accelerator \
            --minutes {resources.runtime} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


use rule train_generator as train_ablation with:
    log:
        "results/logs/train_ablation/{cohort}/{generator}.log",
    benchmark:
        "results/benchmarks/train_ablation/{cohort}/{generator}.tsv"
    wildcard_constraints:
        generator="|".join(ABLATED) or "none",
    # Nothing but a table waits for it.
    priority: -1
    threads: 4
    resources:
        gpu=1,
        gpu_model=GPU_MODEL,
        nodes=1,
        mem_mb=memory(16000, GPU_NODE, times=2),
        runtime=min(240, TRAINING_LIMIT),
        slurm_extra=STOP_SIGNAL,


rule plan_samples:
    input:
        stack=INDEXED_STACK,
    output:
        plan="results/synthesis/{cohort}/{generator}/{purpose}/plan.tsv",
    log:
        "results/logs/plan_samples/{cohort}/{generator}_{purpose}.log",
    benchmark:
        "results/benchmarks/plan_samples/{cohort}/{generator}_{purpose}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=minutes(60),
    params:
        item=lambda wildcards: config["synthesis"][wildcards.generator].get(
            "item", "slice"
        ),
        settings=settings("synthesis/plan"),
    shell:
        r"""
        python -m msdiff plan-samples \
            --stack {input.stack:q} \
            --purpose {wildcards.purpose} \
            --item {params.item} \
            --plan {output.plan:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule sample_images:
    input:
        stack="results/preprocessed/{cohort}/stack",
        plan=lambda wildcards: (
            f"results/synthesis/{wildcards.cohort}/{plan_and_detector_of(wildcards.generator)}/{wildcards.purpose}/plan.tsv"
        ),
        weights="results/synthesis/{cohort}/{generator}/weights.safetensors",
    output:
        shard=directory(
            "results/synthesis/{cohort}/{generator}/{purpose}/shards/{shard}"
        ),
    log:
        "results/logs/sample_images/{cohort}/{generator}_{purpose}_{shard}.log",
    benchmark:
        "results/benchmarks/sample_images/{cohort}/{generator}_{purpose}_{shard}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 4
    resources:
        gpu=1,
        gpu_model=GPU_MODEL,
        nodes=1,
        mem_mb=memory(32000, GPU_NODE),
        runtime=minutes(120, GPU_NODE),
        # What fits the accelerator's memory. Not a param: a sample stays the same, and another batch samples nothing anew.
        sample_batch=config["synthesis"]["sample_batch"],
    params:
        shards=lambda wildcards: len(
            shard_numbers(wildcards.generator, wildcards.purpose)
        ),
        generator=named_generator,
        settings=settings("synthesis/sampler"),
    shell:
        r"""
        python -m msdiff sample-images \
            --stack {input.stack:q} \
            --plan {input.plan:q} \
            --weights {input.weights:q} \
            {params.generator:q} \
            --shard {wildcards.shard} \
            --shards {params.shards} \
            --batch {resources.sample_batch} \
            --threads {threads} \
            --compile accelerator \
            --out {output.shard:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


# Not part of `all`: asked for by its folder.
rule export_samples:
    input:
        stack="results/preprocessed/{cohort}/stack",
        shards=lambda wildcards: expand(
            "results/synthesis/{cohort}/{generator}/{purpose}/shards/{shard}",
            cohort=wildcards.cohort,
            generator=wildcards.generator,
            purpose=wildcards.purpose,
            shard=SHARDS[wildcards.purpose],
        ),
    output:
        nifti=directory("results/synthesis/{cohort}/{generator}/{purpose}/nifti"),
    log:
        "results/logs/export_samples/{cohort}/{generator}_{purpose}.log",
    benchmark:
        "results/benchmarks/export_samples/{cohort}/{generator}_{purpose}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(120),
    params:
        license=lambda wildcards: config["synthesis"]["nifti"]["license"],
        every=lambda wildcards: config["synthesis"]["nifti"]["every"],
    shell:
        r"""
        python -m msdiff export-samples \
            --stack {input.stack:q} \
            --shards {input.shards:q} \
            --license {params.license:q} \
            --every {params.every} \
            --out {output.nifti:q} >{log:q} 2>&1
        """


rule score_images:
    input:
        stack=INDEXED_STACK,
        shards=held_out_shards,
        # Trained on real slices alone, and not the auxiliary, whose list of slices, loss and seed are others: it never met a
        # generator.
        detector=lambda wildcards: (
            f"results/detection/{wildcards.cohort}/{plan_and_detector_of(wildcards.generator)}/unet/1-0/"
            f"seed-{SEEDS[0]}/weights.safetensors"
        ),
    output:
        scores="results/synthesis/{cohort}/{generator}/image_scores.tsv",
    log:
        "results/logs/score_images/{cohort}/{generator}.log",
    benchmark:
        "results/benchmarks/score_images/{cohort}/{generator}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=memory(8000),
        runtime=minutes(60),
    params:
        row_keys=variant_keys,
        settings=settings("synthesis/scoring"),
    shell:
        r"""
        python -m msdiff score-images \
            --stack {input.stack:q} \
            --shards {input.shards:q} \
            --detector {input.detector:q} \
            --keys {params.row_keys:q} \
            --scores {output.scores:q} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """
