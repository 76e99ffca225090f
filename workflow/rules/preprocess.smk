"""Raw scans to normalised brains on one grid, then to one stack per cohort.

Reads   the scan sheet's images, or the phantom's
Writes  results/preprocessed/{cohort}/{registered,corrected,stripped,normalised}/{subject}/
        results/preprocessed/{cohort}/quality/{subject}/
        results/preprocessed/{cohort}/stack/
"""


rule register:
    input:
        patient_files,
    output:
        registered=directory("results/preprocessed/{cohort}/registered/{subject}"),
    log:
        "results/logs/register/{cohort}/{subject}.log",
    benchmark:
        "results/benchmarks/register/{cohort}/{subject}.tsv"
    group:
        "imaging"
    conda:
        "../../envs/imaging.yaml"
    threads: 2
    resources:
        mem_mb=memory(4000),
        runtime=minutes(20),
    params:
        patient=patient_rows,
        contrasts=contrasts,
        settings=settings(
            grid="cohort/{cohort}/grid", registration="preprocess/registration"
        ),
    shell:
        r"""
        python -m msdiff register \
            --patient {params.patient:q} \
            --contrasts {params.contrasts:q} \
            --out {output.registered:q} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule correct_bias:
    input:
        registered="results/preprocessed/{cohort}/registered/{subject}",
    output:
        corrected=directory("results/preprocessed/{cohort}/corrected/{subject}"),
    log:
        "results/logs/correct_bias/{cohort}/{subject}.log",
    benchmark:
        "results/benchmarks/correct_bias/{cohort}/{subject}.tsv"
    group:
        "imaging"
    conda:
        "../../envs/imaging.yaml"
    threads: 2
    resources:
        mem_mb=memory(4000),
        runtime=minutes(15),
    params:
        settings=settings("preprocess/bias"),
    shell:
        r"""
        python -m msdiff correct-bias \
            --registered {input.registered:q} \
            --out {output.corrected:q} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule strip_skull:
    input:
        registered="results/preprocessed/{cohort}/registered/{subject}",
        corrected="results/preprocessed/{cohort}/corrected/{subject}",
    output:
        stripped=directory("results/preprocessed/{cohort}/stripped/{subject}"),
    log:
        "results/logs/strip_skull/{cohort}/{subject}.log",
    benchmark:
        "results/benchmarks/strip_skull/{cohort}/{subject}.tsv"
    group:
        "imaging"
    conda:
        "../../envs/imaging.yaml"
    threads: 2
    resources:
        mem_mb=memory(4000),
        runtime=minutes(15),
    params:
        settings=settings("preprocess/skull_stripping"),
    shell:
        r"""
        python -m msdiff strip-skull \
            --registered {input.registered:q} \
            --corrected {input.corrected:q} \
            --out {output.stripped:q} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule normalise:
    input:
        corrected="results/preprocessed/{cohort}/corrected/{subject}",
        stripped="results/preprocessed/{cohort}/stripped/{subject}",
    output:
        normalised=directory("results/preprocessed/{cohort}/normalised/{subject}"),
    log:
        "results/logs/normalise/{cohort}/{subject}.log",
    benchmark:
        "results/benchmarks/normalise/{cohort}/{subject}.tsv"
    group:
        "imaging"
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(5),
    params:
        settings=settings("preprocess/normalisation"),
    shell:
        r"""
        python -m msdiff normalise \
            --corrected {input.corrected:q} \
            --stripped {input.stripped:q} \
            --out {output.normalised:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule check_quality:
    input:
        patient_files,
        region_batch,
        registered="results/preprocessed/{cohort}/registered/{subject}",
        corrected="results/preprocessed/{cohort}/corrected/{subject}",
        stripped="results/preprocessed/{cohort}/stripped/{subject}",
        normalised="results/preprocessed/{cohort}/normalised/{subject}",
    output:
        quality=directory("results/preprocessed/{cohort}/quality/{subject}"),
    log:
        "results/logs/check_quality/{cohort}/{subject}.log",
    benchmark:
        "results/benchmarks/check_quality/{cohort}/{subject}.tsv"
    group:
        "quality"
    conda:
        "../../envs/tables.yaml"
    resources:
        mem_mb=memory(3000),
        runtime=minutes(5),
    params:
        patient=patient_rows,
        contrasts=contrasts,
        regions=region_folder,
        settings=settings("preprocess/quality"),
    shell:
        r"""
        python -m msdiff check-quality \
            --patient {params.patient:q} \
            --contrasts {params.contrasts:q} \
            --registered {input.registered:q} \
            --corrected {input.corrected:q} \
            --stripped {input.stripped:q} \
            --normalised {input.normalised:q} \
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
        registered=step_folders("registered"),
        stripped=step_folders("stripped"),
        normalised=step_folders("normalised"),
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
