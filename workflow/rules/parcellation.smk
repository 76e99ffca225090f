"""The regions of the patients' brains, many patients per job.

Reads   results/preprocessed/{cohort}/{normalised,corrected,stripped}/{subject}/
Writes  results/parcellation/{cohort}/{batch}/{subject}/
"""


rule parcellate:
    input:
        made_folders("normalised", "corrected", "stripped"),
    output:
        regions=directory("results/parcellation/{cohort}/{batch}"),
    log:
        "results/logs/parcellate/{cohort}/{batch}.log",
    benchmark:
        "results/benchmarks/parcellate/{cohort}/{batch}.tsv"
    conda:
        f"../../envs/{ENVIRONMENT}.yaml"
    threads: 2
    resources:
        mem_mb=memory(PARCELLATOR_MEMORY),
        runtime=minutes(per_patient(PARCELLATOR_MINUTES)),
    params:
        # A cohort's own backend needs none; with conda it runs in that of the stage's.
        environment=lambda wildcards: (
            "imaging"
            if config["cohort"][wildcards.cohort].get("parcellation")
            else ENVIRONMENT
        ),
        normalised=patient_folders("normalised"),
        corrected=patient_folders("corrected"),
        stripped=patient_folders("stripped"),
        settings=parcellation_settings,
    # A backend's own environment, made by `make environment-NAME`: here, in a shared installation, or in the container.
    # Where it is not there, as with conda and for the other backends, PATH's own python runs.
    shell:
        r"""
        PATH="${{MSDIFF_ENVIRONMENTS:-$PWD/.environments}}/{params.environment}/bin:$PATH" python -m msdiff parcellate \
            --normalised {params.normalised:q} \
            --corrected {params.corrected:q} \
            --stripped {params.stripped:q} \
            --out {output.regions:q} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule train_parcellator:
    output:
        weights="results/parcellation/weights/weights.safetensors",
        history="results/parcellation/weights/history.csv",
    log:
        "results/logs/train_parcellator.log",
    benchmark:
        "results/benchmarks/train_parcellator.tsv"
    retries: TRAINING_RETRIES
    conda:
        "../../envs/torch.yaml"
    threads: 4
    resources:
        gpu=1,
        gpu_model=GPU_MODEL,
        nodes=1,
        mem_mb=memory(24000, GPU_NODE, times=2),
        runtime=min(1440, TRAINING_LIMIT),
        slurm_extra=STOP_SIGNAL,
    params:
        # Not an output: Snakemake deletes a job's outputs before every attempt.
        checkpoints="results/parcellation/weights/checkpoints",
        settings=settings("parcellation/training"),
    shell:
        r"""
        exec python -m msdiff train-parcellator \
            --checkpoints {params.checkpoints:q} \
            --weights {output.weights:q} \
            --history {output.history:q} \
            --minutes {resources.runtime} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule export_parcellator:
    input:
        weights="results/parcellation/weights/weights.safetensors",
    output:
        keras="results/parcellation/weights/msdiff_synthseg.h5",
        description="results/parcellation/weights/msdiff_synthseg.json",
    log:
        "results/logs/export_parcellator.log",
    benchmark:
        "results/benchmarks/export_parcellator.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
    shell:
        r"""
        python -m msdiff export-parcellator \
            --weights {input.weights:q} \
            --out {output.keras:q} >{log:q} 2>&1
        """
