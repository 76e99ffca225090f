"""The tables, the figures, the provenance record and the report, of all systems that run.

Reads   results/detection/, results/synthesis/, results/forecasting/,
        results/preprocessed/{cohort}/{stack,quality}/, results/benchmarks/
Writes  results/tables/, results/figures/, results/provenance.json, results/report.html
"""

ASKED = [SYSTEMS[name] for name in config["systems"]]
RUNNING = [system for system in ASKED if not system.lacking]
# Where a cohort cannot give what a system needs, the run goes on without the system and says so.
for system in ASKED:
    if system.lacking and system.cohort and workflow.is_main_process:
        sys.stderr.write(f"msdiff: {system.lacking}\n")
STACK = expand(INDEXED_STACK, cohort=STUDY)
SHEET = config["cohort"][STUDY]["sheet"] or f"results/cohorts/{STUDY}/sheet.tsv"
QUALITY = expand(
    "results/preprocessed/{cohort}/quality/{batch}",
    cohort=STUDY,
    batch=BATCHES[STUDY],
)
LEARNED_ON = list(dict.fromkeys([STUDY, *(system.cohort for system in RUNNING)]))
STACKS = expand("results/preprocessed/{cohort}/stack", cohort=LEARNED_ON)
# The tables of the report. Each has a line here or in its system's file, its module and its caption (docs/extending.md).
TABLES = {
    **joined(RUNNING, "tables"),
    "cohort": table(
        None,
        {"cohorts": LEARNED_ON},
        slices=expand("results/cohorts/{cohort}/slices.tsv", cohort=LEARNED_ON),
    ),
    "quality": table(folders=QUALITY, sections=[], local=True),
}
# Its benchmarks are complete when the other tables exist.
TABLES["compute"] = table(
    None,
    {"benchmarks": ["results/benchmarks"]},
    after=[f"results/tables/{name}.csv" for name in TABLES],
    sections=[],
    local=True,
)
# Those of systems that do not run, and what waits for readers, are made when asked for by name.
EVERY_TABLE = {
    **joined(SYSTEMS.values(), "tables"),
    **TABLES,
    "reader_study": table(
        answers=f"results/reader_study/{STUDY}/answers.tsv", local=True
    ),
}
HISTORIES = joined(RUNNING, "histories")
WEIGHTS = joined(RUNNING, "weights")
FIGURES = joined_options(RUNNING, "figures") | {"--histories": list(HISTORIES.items())}
PAGE = joined_options(RUNNING, "page")
PROVENANCE = joined_options(RUNNING, "provenance") | {
    "--weights": list(WEIGHTS.items())
}
MADE = [*STACKS, *(path for system in RUNNING for path in system.made)]

for name, made_from in EVERY_TABLE.items():

    if made_from.local:

        rule:
            name:
                name
            input:
                made_from.after,
                **made_from.files,
            output:
                table=report(
                    f"results/tables/{name}.csv",
                    caption=f"../../msdiff/report/captions/{name}.rst",
                    category="tables",
                ),
            log:
                f"results/logs/{name}.log",
            localrule: True
            conda:
                "../../envs/tables.yaml"
            params:
                name=name,
                values=made_from.options,
                inputs=table_inputs,
                settings=made_from.settings,
            shell:
                TABLE_COMMAND

    else:

        rule:
            name:
                name
            input:
                made_from.after,
                **made_from.files,
            output:
                table=report(
                    f"results/tables/{name}.csv",
                    caption=f"../../msdiff/report/captions/{name}.rst",
                    category="tables",
                ),
            log:
                f"results/logs/{name}.log",
            benchmark:
                f"results/benchmarks/{name}.tsv"
            group:
                made_from.group
            conda:
                "../../envs/tables.yaml"
            resources:
                mem_mb=memory(4000),
                runtime=minutes(15),
            params:
                name=name,
                values=made_from.options,
                inputs=table_inputs,
                settings=made_from.settings,
            shell:
                TABLE_COMMAND


rule plot_figures:
    input:
        paths(FIGURES),
        expand("results/tables/{table}.csv", table=TABLES),
        stack=STACK,
    output:
        figures=directory("results/figures"),
    log:
        "results/logs/plot_figures.log",
    benchmark:
        "results/benchmarks/plot_figures.tsv"
    conda:
        "../../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(15),
    params:
        tables=tables_of_run,
        of_systems=words(FIGURES),
        settings=settings("tables"),
    shell:
        r"""
        python -m msdiff plot-figures \
            --stack {input.stack:q} \
            {params.of_systems:q} \
            --tables {params.tables:q} \
            --out {output.figures:q} \
            --settings {params.settings:q} >{log:q} 2>&1
        """


rule provenance:
    input:
        paths(PROVENANCE),
        tables=expand("results/tables/{table}.csv", table=TABLES),
        stack=STACK,
        sheet=SHEET,
    output:
        record="results/provenance.json",
    log:
        "results/logs/provenance.log",
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        config=lambda wildcards: json.dumps(config, sort_keys=True),
        of_systems=words(PROVENANCE),
    shell:
        r"""
        python -m msdiff provenance \
            --config {params.config:q} \
            --stack {input.stack:q} \
            --sheet {input.sheet:q} \
            {params.of_systems:q} \
            --tables {input.tables:q} \
            --out {output.record:q} >{log:q} 2>&1
        """


rule report:
    input:
        paths(PAGE),
        expand("results/tables/{table}.csv", table=TABLES),
        figures="results/figures",
        provenance="results/provenance.json",
        stack=STACK,
        scans=QUALITY,
        sheet=SHEET,
        cards=["results/model_card.md", "results/datasheet.md"],
    output:
        page="results/report.html",
    log:
        "results/logs/report.log",
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        tables=tables_of_run,
        of_systems=words(PAGE),
    shell:
        r"""
        python -m msdiff report \
            --tables {params.tables:q} \
            --figures {input.figures:q} \
            {params.of_systems:q} \
            --provenance {input.provenance:q} \
            --stack {input.stack:q} \
            --pictures {input.scans:q} \
            --sheet {input.sheet:q} \
            --cards {input.cards:q} \
            --out {output.page:q} >{log:q} 2>&1
        """
