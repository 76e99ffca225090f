"""Who is in the study: the embedded phantom's scans, the checked sheet, pairs, folds and the index of slices.

Reads   config[cohort], the scan sheet, results/preprocessed/{cohort}/stack/ (index of slices only)
Writes  results/cohorts/{cohort}/sheet.tsv and raw/{batch}/{subject}/ (phantom only), scans.tsv, pairs.tsv, folds/{fold}.tsv, slices.tsv
        results/preprocessed/{cohort}/aligned/{batch}/ (phantom on the common grid only)
"""


rule index_phantom:
    output:
        sheet="results/cohorts/{cohort}/sheet.tsv",
    log:
        "results/logs/index_phantom/{cohort}.log",
    localrule: True
    conda:
        "../../envs/imaging.yaml"
    params:
        root=phantom_folder,
        per_folder=lambda wildcards: PER_JOB[wildcards.cohort],
        contrasts=contrasts,
        settings=settings("cohort/{cohort}/phantom"),
    shell:
        r"""
        python -m msdiff index-scans \
            --source phantom \
            --root {params.root:q} \
            --patients-per-folder {params.per_folder} \
            --contrasts {params.contrasts:q} \
            --out {output.sheet:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule simulate_phantom:
    output:
        scans=directory("results/cohorts/{cohort}/raw/{batch}"),
    log:
        "results/logs/simulate_phantom/{cohort}/{batch}.log",
    benchmark:
        "results/benchmarks/simulate_phantom/{cohort}/{batch}.tsv"
    group:
        "imaging"
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(per_patient(2)),
    params:
        subjects=batch_subjects,
        contrasts=contrasts,
        settings=settings("cohort/{cohort}/phantom"),
    shell:
        r"""
        python -m msdiff simulate-phantom \
            --subjects {params.subjects:q} \
            --contrasts {params.contrasts:q} \
            --out {output.scans:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


# A cohort of the space `template`: what imaging would make of a batch of patients, were it perfect.
rule simulate_aligned:
    output:
        aligned=directory("results/preprocessed/{cohort}/aligned/{batch}"),
    log:
        "results/logs/simulate_aligned/{cohort}/{batch}.log",
    benchmark:
        "results/benchmarks/simulate_aligned/{cohort}/{batch}.tsv"
    group:
        "aligned"
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(per_patient(2)),
    params:
        subjects=batch_subjects,
        contrasts=contrasts,
        settings=settings(
            phantom="cohort/{cohort}/phantom",
            grid="cohort/{cohort}/grid",
            normalisation="preprocess/normalisation",
        ),
    shell:
        r"""
        python -m msdiff simulate-aligned \
            --subjects {params.subjects:q} \
            --contrasts {params.contrasts:q} \
            --out {output.aligned:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule check_sheet:
    input:
        images_of_all_patients,
        sheet=sheet_as_rows,
    output:
        scans="results/cohorts/{cohort}/scans.tsv",
    log:
        "results/logs/check_sheet/{cohort}.log",
    localrule: True
    conda:
        "../../envs/imaging.yaml"
    params:
        contrasts=contrasts,
        rows=rows_without("split"),
    shell:
        r"""
        python -m msdiff check-sheet \
            --sheet {input.sheet:q} \
            --contrasts {params.contrasts:q} \
            --out {output.scans:q} >{log:q} 2>&1
        """


rule pair_scans:
    input:
        scans="results/cohorts/{cohort}/scans.tsv",
    output:
        pairs="results/cohorts/{cohort}/pairs.tsv",
    log:
        "results/logs/pair_scans/{cohort}.log",
    localrule: True
    conda:
        "../../envs/imaging.yaml"
    params:
        settings=settings("cohort/{cohort}/pairs"),
    shell:
        r"""
        python -m msdiff pair-scans \
            --scans {input.scans:q} \
            --out {output.pairs:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


# {fold} is `split`, or one of cohort.NAME.folds. No step of imaging depends on it.
rule assign_fold:
    input:
        sheet=sheet_as_rows,
    output:
        fold="results/cohorts/{cohort}/folds/{fold}.tsv",
    log:
        "results/logs/assign_fold/{cohort}/{fold}.log",
    localrule: True
    conda:
        "../../envs/imaging.yaml"
    params:
        contrasts=contrasts,
        rows=rows_without(),
        settings=fold_settings,
    shell:
        r"""
        python -m msdiff assign-fold \
            --sheet {input.sheet:q} \
            --contrasts {params.contrasts:q} \
            --fold {wildcards.fold:q} \
            --out {output.fold:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule index_slices:
    input:
        stack="results/preprocessed/{cohort}/stack",
        pairs="results/cohorts/{cohort}/pairs.tsv",
    output:
        slices="results/cohorts/{cohort}/slices.tsv",
    log:
        "results/logs/index_slices/{cohort}.log",
    benchmark:
        "results/benchmarks/index_slices/{cohort}.tsv"
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(
            lambda wildcards: max(30, len(SUBJECTS[wildcards.cohort]) // 20)
        ),
    shell:
        r"""
        python -m msdiff index-slices \
            --stack {input.stack:q} \
            --pairs {input.pairs:q} \
            --out {output.slices:q} >{log:q} 2>&1
        """
