"""From raw MS scans to the report: one rule file per stage.

A rule states what a step reads, writes and needs; `python -m msdiff COMMAND` does it.
"""

from snakemake.utils import min_version

from workflow.events import show_events

min_version("9.0")
show_events(workflow)


report: "msdiff/report/captions/workflow.rst"


# Built from envs/msdiff.def; used with `--sdm apptainer` only.
container: "envs/msdiff.sif"


include: "workflow/rules/config.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/cohort.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/parcellation.smk"
include: "workflow/rules/synthesis.smk"
include: "workflow/rules/detection.smk"
include: "workflow/rules/privacy.smk"
include: "workflow/rules/reader_study.smk"
include: "workflow/rules/forecasting.smk"
include: "workflow/rules/long_ms_diff.smk"
include: "workflow/rules/net2.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/cards.smk"
include: "workflow/rules/recall.smk"


rule all:
    default_target: True
    input:
        "results/report.html",
        MADE,
    localrule: True
