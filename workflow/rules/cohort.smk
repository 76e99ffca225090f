"""Who is in the study: the embedded phantom's scans, the checked sheet, splits and pairs.

Reads   config[cohort], the scan sheet
Writes  results/cohorts/{cohort}/sheet.tsv and raw/ (phantom only), scans.tsv, pairs.tsv
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
        root="results/cohorts/{cohort}/raw",
        contrasts=contrasts,
        settings=settings("cohort/{cohort}/phantom"),
    shell:
        r"""
        python -m msdiff index-scans \
            --source phantom \
            --root {params.root:q} \
            --contrasts {params.contrasts:q} \
            --out {output.sheet:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule draw_phantom:
    output:
        scans=directory("results/cohorts/{cohort}/raw/{subject}"),
    log:
        "results/logs/draw_phantom/{cohort}/{subject}.log",
    benchmark:
        "results/benchmarks/draw_phantom/{cohort}/{subject}.tsv"
    group:
        "imaging"
    conda:
        "../../envs/imaging.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(10),
    params:
        contrasts=contrasts,
        settings=settings("cohort/{cohort}/phantom"),
    shell:
        r"""
        python -m msdiff draw-phantom \
            --subject {wildcards.subject:q} \
            --contrasts {params.contrasts:q} \
            --out {output.scans:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule pair_scans:
    input:
        images_of_all_patients,
        sheet=sheet,
    output:
        scans="results/cohorts/{cohort}/scans.tsv",
        pairs="results/cohorts/{cohort}/pairs.tsv",
    log:
        "results/logs/pair_scans/{cohort}.log",
    localrule: True
    conda:
        "../../envs/imaging.yaml"
    params:
        contrasts=contrasts,
        settings=settings(split="cohort/{cohort}/split", pairs="cohort/{cohort}/pairs"),
    shell:
        r"""
        python -m msdiff pair-scans \
            --sheet {input.sheet:q} \
            --contrasts {params.contrasts:q} \
            --scans {output.scans:q} \
            --pairs {output.pairs:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """
