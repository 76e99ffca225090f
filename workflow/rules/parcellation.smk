"""The regions of a patient's brain.

Reads   results/preprocessed/{cohort}/{normalised,stripped}/{subject}/
Writes  results/parcellation/{cohort}/{subject}/
"""


rule parcellate:
    input:
        normalised="results/preprocessed/{cohort}/normalised/{subject}",
        stripped="results/preprocessed/{cohort}/stripped/{subject}",
    output:
        regions=directory("results/parcellation/{cohort}/{subject}"),
    log:
        "results/logs/parcellate/{cohort}/{subject}.log",
    benchmark:
        "results/benchmarks/parcellate/{cohort}/{subject}.tsv"
    group:
        "imaging"
    conda:
        "../../envs/imaging.yaml"
    threads: 2
    resources:
        mem_mb=6000,
        runtime=20,
    params:
        settings=settings("parcellation"),
    shell:
        r"""
        python -m msdiff parcellate \
            --normalised {input.normalised:q} \
            --stripped {input.stripped:q} \
            --out {output.regions:q} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """
