"""A blinded study of radiologists on real and generated follow-ups: the page, and what comes of their answers.

Reads   results/preprocessed/{cohort}/stack/, results/synthesis/{cohort}/{generator}/held_out/shards/, the readers' files
Writes  results/reader_study/{cohort}/reader/           to hand out: one page
        results/reader_study/{cohort}/key.tsv           to keep
        results/reader_study/{cohort}/keys/             of every page that was ever handed out
        results/reader_study/{cohort}/answers.tsv     of the table reader_study, when it is asked for by name
"""


rule export_reader_study:
    input:
        stack="results/preprocessed/{cohort}/stack",
        # Of all generators: one study mixes them.
        shards=lambda wildcards: [
            path.format(cohort=wildcards.cohort, generator=generator)
            for generator in GENERATORS
            for path in shards("held_out")
        ],
    output:
        page="results/reader_study/{cohort}/reader/reader_study.html",
        key="results/reader_study/{cohort}/key.tsv",
    log:
        "results/logs/export_reader_study/{cohort}.log",
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        # Not an output: Snakemake would delete the keys of pages that were handed out before.
        kept="results/reader_study/{cohort}/keys",
        settings=settings("reader_study/export"),
    shell:
        r"""
        python -m msdiff reader-study export \
            --stack {input.stack:q} \
            --shards {input.shards:q} \
            --page {output.page:q} \
            --key {output.key:q} \
            --keys {params.kept:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule import_reader_study:
    input:
        answers=readers_answers,
    output:
        answers="results/reader_study/{cohort}/answers.tsv",
    log:
        "results/logs/import_reader_study/{cohort}.log",
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        # Not an input: whatever has changed since, answers belong to the page that was handed out.
        kept="results/reader_study/{cohort}/keys",
        settings=settings("reader_study/import"),
    shell:
        r"""
        python -m msdiff reader-study import \
            --keys {params.kept:q} \
            --answers {input.answers:q} \
            --out {output.answers:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """
