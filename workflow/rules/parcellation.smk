"""The regions of the patients' brains, many patients per job.

Reads   results/preprocessed/{cohort}/{normalised,corrected,stripped}/{subject}/
Writes  results/parcellation/{cohort}/{batch}/{subject}/
"""


rule parcellate:
    input:
        normalised=batch_folders("normalised"),
        corrected=batch_folders("corrected"),
        stripped=batch_folders("stripped"),
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
        mem_mb=PARCELLATOR_MEMORY,
        runtime=lambda wildcards: PARCELLATOR_MINUTES * len(BATCHES[wildcards.batch]),
    params:
        python=PYTHON,
        settings=settings("parcellation", limits="parcellation/limits"),
    shell:
        r"""
        {params.python} -m msdiff parcellate \
            --normalised {input.normalised:q} \
            --corrected {input.corrected:q} \
            --stripped {input.stripped:q} \
            --out {output.regions:q} \
            --threads {threads} \
            --settings {params.settings:q} >{log:q} 2>&1
        """
