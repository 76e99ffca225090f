"""Raw scans to normalised brains on one grid, several patients per job, then to one stack per cohort.

Reads   the scan sheet's images, or the phantom's
Writes  results/preprocessed/{cohort}/{registered,corrected,stripped,normalised}/{batch}/{subject}/
        results/preprocessed/{cohort}/quality/{batch}/{subject}/
        results/preprocessed/{cohort}/stack/
"""


rule register:
    input:
        batch_files,
    output:
        registered=directory("results/preprocessed/{cohort}/registered/{batch}"),
    log:
        "results/logs/register/{cohort}/{batch}.log",
    benchmark:
        "results/benchmarks/register/{cohort}/{batch}.tsv"
    group:
        "imaging"
    conda:
        "../../envs/imaging.yaml"
    threads: 2
    resources:
        mem_mb=memory(4000),
        runtime=minutes(per_patient(5)),
    params:
        patients=batch_rows,
        contrasts=contrasts,
        settings=settings(
            grid="cohort/{cohort}/grid", registration="preprocess/registration"
        ),
    shell:
        r"""
        python -m msdiff register \
            --patients {params.patients:q} \
            --contrasts {params.contrasts:q} \
            --out {output.registered:q} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule correct_bias:
    input:
        registered="results/preprocessed/{cohort}/registered/{batch}",
    output:
        corrected=directory("results/preprocessed/{cohort}/corrected/{batch}"),
    log:
        "results/logs/correct_bias/{cohort}/{batch}.log",
    benchmark:
        "results/benchmarks/correct_bias/{cohort}/{batch}.tsv"
    group:
        "imaging"
    conda:
        "../../envs/imaging.yaml"
    threads: 2
    resources:
        mem_mb=memory(4000),
        runtime=minutes(per_patient(3)),
    params:
        registered=patient_folders("registered"),
        settings=settings("preprocess/bias"),
    shell:
        r"""
        python -m msdiff correct-bias \
            --registered {params.registered:q} \
            --out {output.corrected:q} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule strip_skull:
    input:
        registered="results/preprocessed/{cohort}/registered/{batch}",
        corrected="results/preprocessed/{cohort}/corrected/{batch}",
    output:
        stripped=directory("results/preprocessed/{cohort}/stripped/{batch}"),
    log:
        "results/logs/strip_skull/{cohort}/{batch}.log",
    benchmark:
        "results/benchmarks/strip_skull/{cohort}/{batch}.tsv"
    group:
        "imaging"
    conda:
        "../../envs/imaging.yaml"
    threads: 2
    resources:
        mem_mb=memory(4000),
        runtime=minutes(per_patient(3)),
    params:
        registered=patient_folders("registered"),
        corrected=patient_folders("corrected"),
        settings=settings("preprocess/skull_stripping"),
    shell:
        r"""
        python -m msdiff strip-skull \
            --registered {params.registered:q} \
            --corrected {params.corrected:q} \
            --out {output.stripped:q} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule normalise:
    input:
        corrected="results/preprocessed/{cohort}/corrected/{batch}",
        stripped="results/preprocessed/{cohort}/stripped/{batch}",
    output:
        normalised=directory("results/preprocessed/{cohort}/normalised/{batch}"),
    log:
        "results/logs/normalise/{cohort}/{batch}.log",
    benchmark:
        "results/benchmarks/normalise/{cohort}/{batch}.tsv"
    group:
        "imaging"
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(per_patient(1)),
    params:
        corrected=patient_folders("corrected"),
        stripped=patient_folders("stripped"),
        settings=settings("preprocess/normalisation"),
    shell:
        r"""
        python -m msdiff normalise \
            --corrected {params.corrected:q} \
            --stripped {params.stripped:q} \
            --out {output.normalised:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule check_quality:
    input:
        batch_files,
        regions="results/parcellation/{cohort}/{batch}",
        registered="results/preprocessed/{cohort}/registered/{batch}",
        corrected="results/preprocessed/{cohort}/corrected/{batch}",
        stripped="results/preprocessed/{cohort}/stripped/{batch}",
        normalised="results/preprocessed/{cohort}/normalised/{batch}",
    output:
        quality=directory("results/preprocessed/{cohort}/quality/{batch}"),
    log:
        "results/logs/check_quality/{cohort}/{batch}.log",
    benchmark:
        "results/benchmarks/check_quality/{cohort}/{batch}.tsv"
    conda:
        "../../envs/tables.yaml"
    resources:
        mem_mb=memory(3000),
        runtime=minutes(per_patient(1)),
    params:
        patients=batch_rows,
        contrasts=contrasts,
        regions=lambda wildcards, input: [
            f"{input.regions}/{subject}" for subject in batch_subjects(wildcards)
        ],
        registered=patient_folders("registered"),
        corrected=patient_folders("corrected"),
        stripped=patient_folders("stripped"),
        normalised=patient_folders("normalised"),
        settings=settings("preprocess/quality"),
    shell:
        r"""
        python -m msdiff check-quality \
            --patients {params.patients:q} \
            --contrasts {params.contrasts:q} \
            --registered {params.registered:q} \
            --corrected {params.corrected:q} \
            --stripped {params.stripped:q} \
            --normalised {params.normalised:q} \
            --regions {params.regions:q} \
            --out {output.quality:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule stack_scans:
    input:
        made_folders("registered", "stripped", "normalised"),
        parcellation=region_batches,
        scans="results/cohorts/{cohort}/scans.tsv",
    output:
        stack=directory("results/preprocessed/{cohort}/stack"),
    log:
        "results/logs/stack_scans/{cohort}.log",
    benchmark:
        "results/benchmarks/stack_scans/{cohort}.tsv"
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=minutes(
            lambda wildcards: max(60, len(SUBJECTS[wildcards.cohort]) // 10)
        ),
    params:
        registered=batch_folders("registered"),
        stripped=batch_folders("stripped"),
        normalised=batch_folders("normalised"),
        contrasts=contrasts,
        settings=settings("preprocess/stack"),
    shell:
        r"""
        python -m msdiff stack-scans \
            --scans {input.scans:q} \
            --registered {params.registered:q} \
            --stripped {params.stripped:q} \
            --normalised {params.normalised:q} \
            --parcellation {input.parcellation:q} \
            --contrasts {params.contrasts:q} \
            --out {output.stack:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """
