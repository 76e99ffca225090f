"""The cohorts' scans, wildcards, and the helpers that all rules share."""

import copy
import hashlib
import json
import os
from collections import namedtuple
from functools import cache

import pandas as pd
from snakemake.utils import update_config

from msdiff.cohort.sheets import MASK_COLUMNS, read_sheet
from msdiff.errors import BadInput
from workflow.systems import System, joined, joined_options, paths, words


def cohort_scans(cohort):
    """The sheet rows (subject, session, paths) of a cohort, the phantom's from its numbers alone."""
    sheet = config["cohort"][cohort]["sheet"]
    if sheet is None:
        return phantom_scans(cohort)
    contrasts = config["cohort"][cohort]["contrasts"]
    try:
        scans = read_sheet(sheet, contrasts)
    except BadInput as error:
        stop(str(error))
    for column in [*contrasts, *MASK_COLUMNS]:
        scans[column] = [within_folder(path) for path in scans[column]]
    return scans


def within_folder(path):
    """A path relative to the working folder where it lies within: a study that is moved keeps its results."""
    folder = os.path.join(os.getcwd(), "")
    return path.removeprefix(folder)


def phantom_scans(cohort):
    """The rows of the embedded cohort; its images are simulated by a rule."""
    numbers = config["cohort"][cohort]["phantom"]
    arms = [arm for arm, count in numbers["arms"].items() for _ in range(count)]
    rows = []
    for patient, arm in enumerate(arms):
        subject = f"sub-{patient + 1:04d}"
        folder = (
            f"results/cohorts/{cohort}/raw/{patient // PER_JOB[cohort]:03d}/{subject}"
        )
        for number, session in enumerate(numbers["sessions"]):
            row = {"subject": subject, "session": f"ses-{session}", "arm": arm}
            row |= {
                image: f"{folder}/ses-{session}_{image}.nii.gz"
                for image in [
                    *config["cohort"][cohort]["contrasts"],
                    "lesion_mask",
                    "enhancing_mask",
                ]
            }
            if number:
                row["change_mask"] = f"{folder}/ses-{session}_change_mask.nii.gz"
            rows.append(row)
    return pd.DataFrame(rows).fillna("")


# What `--stack` takes: a cohort's stack, the index of its slices, and the fold `split`, which says who is in which set.
INDEXED_STACK = [
    "results/preprocessed/{cohort}/stack",
    "results/cohorts/{cohort}/slices.tsv",
    "results/cohorts/{cohort}/folds/split.tsv",
]
# What `--slabs` takes.
INDEXED_SLABS = [
    "results/forecasting/{cohort}/slabs",
    "results/cohorts/{cohort}/folds/split.tsv",
]
STUDY = config["study"]
if STUDY not in config["cohort"]:
    stop(
        f"study: expected a name under cohort ({', '.join(config['cohort'])}), got {STUDY!r}"
    )
# A cohort's own grid, or the stage's.
for values in config["cohort"].values():
    values["grid"] = values.get("grid") or config["preprocess"]["grid"]
# The cohort that each system learns from: the study itself, or one that stands for it; NET2's is None where a study
# forecasts nothing.
COHORT_OF = {
    "long_ms_diff": STUDY,
    "net2": config["forecasting"]["cohorts"].get(STUDY),
}
if COHORT_OF["net2"] not in [None, *config["cohort"]]:
    stop(
        f"forecasting.cohorts.{STUDY}: expected a name under cohort ({', '.join(config['cohort'])}), "
        f"got {COHORT_OF['net2']!r}"
    )
COHORTS = [
    cohort
    for cohort in dict.fromkeys(
        [STUDY, *(COHORT_OF[name] for name in config["systems"])]
    )
    if cohort
]
# What each system makes, by name; a rule file of its own declares it.
SYSTEMS = {}
# Patients of a job: the cohort's own number, or the stage's.
PER_JOB = {
    cohort: config["cohort"][cohort].get("patients_per_job")
    or config["preprocess"]["patients_per_job"]
    for cohort in COHORTS
}
SCANS = {cohort: cohort_scans(cohort) for cohort in COHORTS}
SUBJECTS = {
    cohort: list(dict.fromkeys(scans["subject"])) for cohort, scans in SCANS.items()
}
GENERATORS = config["synthesis"]["generators"]
# Whose previews are shown, and whose detectors' histories.
FIRST_GENERATOR = GENERATORS[0]
# The generators of the ablation: Long-MS-Diff with each variant's overrides, trained with each seed; none where Long-MS-Diff
# is not among the generators. A variant of null is left out.
ABLATION = config["synthesis"]["ablation"]
ABLATED = {
    f"ablation/{variant}/seed-{seed}": [
        ABLATION["common"],
        changes,
        {"seed": seed},
    ]
    for variant, changes in ABLATION["variants"].items()
    if changes is not None and "long_ms_diff" in GENERATORS
    for seed in ABLATION["seeds"]
}
DRAWS = config["forecasting"]["draws"]
SHARDS = {
    purpose: [f"{shard:03d}" for shard in range(count)]
    for purpose, count in config["synthesis"]["shards"].items()
}
BATCHES = {
    cohort: {
        f"{start // PER_JOB[cohort]:03d}": subjects[start : start + PER_JOB[cohort]]
        for start in range(0, len(subjects), PER_JOB[cohort])
    }
    for cohort, subjects in SUBJECTS.items()
}
# Cohorts that are simulated on the common grid, a batch of patients in a job.
ALIGNED = [
    cohort
    for cohort in COHORTS
    if config["cohort"][cohort]["sheet"] is None
    and config["cohort"][cohort]["phantom"]["space"] == "template"
]
if STUDY in ALIGNED:
    stop(
        f"cohort.{STUDY}.phantom.space: expected scanner for the study itself, got template"
    )
PARCELLATOR = config["parcellation"]["backend"]
# The environment of a parcellation backend, and what it needs: memory in MB, minutes per patient.
ENVIRONMENT, PARCELLATOR_MEMORY, PARCELLATOR_MINUTES = {
    "synthseg": ("synthseg", 14000, 5),
    "samseg": ("samseg", 8000, 60),
    "freesurfer": ("imaging", 14000, 10),
}.get(PARCELLATOR, ("imaging", 6000, 20))
ARCHITECTURES = list(config["detection"]["detectors"])
MIXES = config["detection"]["mixes"]
SEEDS = config["detection"]["seeds"]


wildcard_constraints:
    cohort="|".join(COHORTS),
    generator="|".join([*GENERATORS, *ABLATED]),
    purpose="|".join([*SHARDS, *DRAWS]),
    model="|".join(config["forecasting"]["models"]),
    shard=r"\d{3}",
    batch=r"\d{3}",
    architecture="|".join(ARCHITECTURES),
    mix=r"\d+-\d+",
    seed=r"\d+",
    fold=r"[A-Za-z0-9]+",


def contrasts(wildcards):
    """The contrasts of a cohort; the first is the one generated and looked at."""
    return config["cohort"][wildcards.cohort]["contrasts"]


@cache
def rows_by_subject(cohort):
    """The sheet's rows of each patient of a cohort, as dicts."""
    rows = {subject: [] for subject in SUBJECTS[cohort]}
    for row in SCANS[cohort].to_dict("records"):
        rows[row["subject"]].append(row)
    return rows


def batch_rows(wildcards):
    """The sheet rows of a batch's patients as one JSON argument, empty cells left out."""
    columns = {"subject", "session", *contrasts(wildcards), *MASK_COLUMNS}
    return json.dumps(
        [
            {key: value for key, value in row.items() if value and key in columns}
            for row in rows_of(wildcards)
        ]
    )


def batch_files(wildcards):
    """The raw images and masks of a batch's patients, or the folder that the phantom's are simulated in."""
    if config["cohort"][wildcards.cohort]["sheet"] is None:
        return f"results/cohorts/{wildcards.cohort}/raw/{wildcards.batch}"
    columns = [*contrasts(wildcards), *MASK_COLUMNS]
    return sorted(
        {
            row[column]
            for row in rows_of(wildcards)
            for column in columns
            if row.get(column)
        }
    )


def rows_of(wildcards):
    """The sheet rows of a batch's patients."""
    by_subject = rows_by_subject(wildcards.cohort)
    return [row for subject in batch_subjects(wildcards) for row in by_subject[subject]]


def batch_subjects(wildcards):
    """The patients of a batch."""
    return BATCHES[wildcards.cohort][wildcards.batch]


def step_folder(cohort, batch, step):
    """The folder of a step of a batch, with one per patient; who is simulated aligned has no bias to correct."""
    if cohort in ALIGNED:
        return f"results/preprocessed/{cohort}/aligned/{batch}/{'registered' if step == 'corrected' else step}"
    return f"results/preprocessed/{cohort}/{step}/{batch}"


def patient_folders(step):
    """A function of the wildcards: the folders of a step of a batch's patients."""

    def folders(wildcards):
        parent = step_folder(wildcards.cohort, wildcards.batch, step)
        return [f"{parent}/{subject}" for subject in batch_subjects(wildcards)]

    return folders


def batch_folders(step):
    """A function of the wildcards: the folders of a step of all batches."""

    def folders(wildcards):
        cohort = wildcards.cohort
        return [step_folder(cohort, batch, step) for batch in BATCHES[cohort]]

    return folders


def made_folders(*steps):
    """A function of the wildcards: the inputs of a rule that reads these steps of a batch, or of all batches."""

    def folders(wildcards):
        cohort = wildcards.cohort
        batches = [wildcards.batch] if "batch" in wildcards.keys() else BATCHES[cohort]
        if cohort in ALIGNED:
            return [
                f"results/preprocessed/{cohort}/aligned/{batch}" for batch in batches
            ]
        return [step_folder(cohort, batch, step) for step in steps for batch in batches]

    return folders


def region_batches(wildcards):
    """The folders of all parcellation jobs of a cohort."""
    return [
        f"results/parcellation/{wildcards.cohort}/{batch}"
        for batch in BATCHES[wildcards.cohort]
    ]


def phantom_folder(wildcards):
    """Where the phantom of a cohort is simulated."""
    if wildcards.cohort in ALIGNED:
        return f"results/preprocessed/{wildcards.cohort}/aligned"
    return f"results/cohorts/{wildcards.cohort}/raw"


def images_of_all_patients(wildcards):
    """What a sheet points to: its files are checked before anything is computed from them."""
    cohort = wildcards.cohort
    if config["cohort"][cohort]["sheet"] is not None:
        return []
    return [f"{phantom_folder(wildcards)}/{batch}" for batch in BATCHES[cohort]]


@cache
def lacking_for_forecasts(cohort):
    """Why there are no forecasts of a cohort, in one line; empty where there are.

    They take the images that slabs are cut from, true masks, and patients with all three sessions and a known arm.
    """
    if "net2" not in config["systems"]:
        return "no forecasts can be made: add net2 to systems"
    if cohort is None:
        return f"{STUDY} forecasts nothing: name the cohort whose future is forecast, forecasting.cohorts.{STUDY}"
    slabs, arms = config["forecasting"]["slabs"], config["forecasting"]["arms"]
    scans = SCANS[cohort]
    filled = {column for column in scans if (scans[column] != "").any()}
    lacking = [
        f"column {column}"
        for column in ["arm", *slabs["images"]]
        if column not in filled
    ]
    if not filled & {"lesion_mask", "change_mask"}:
        lacking.append("column change_mask or lesion_mask")
    wanted = {f"ses-{session}" for session in slabs["sessions"]}
    followed = [
        subject
        for subject, rows in rows_by_subject(cohort).items()
        if wanted <= {row["session"] for row in rows}
    ]
    if not followed:
        lacking.append(
            f"a patient with the sessions {', '.join(sorted(wanted))} (forecasting.slabs.sessions), "
            f"it has {', '.join(sorted(set(scans['session'])))}"
        )
    elif "arm" in filled:
        treated = set(scans["arm"][scans["subject"].isin(followed)]) - {""}
        if not treated or treated - set(arms):
            lacking.append(
                f"patients of the arms {', '.join(arms)} alone (forecasting.arms), "
                f"it has {', '.join(sorted(treated)) or 'none with all sessions'}"
            )
    if not lacking:
        return ""
    where = (
        config["cohort"][cohort]["sheet"] or f"cohort.{cohort}.phantom of the config"
    )
    return f"{where}: no forecasts can be made, for it lacks {'; '.join(lacking)}"


def forecastable_stack(wildcards):
    """The stack of a cohort that forecasts can be made on."""
    if lacking := lacking_for_forecasts(wildcards.cohort):
        stop(lacking)
    return f"results/preprocessed/{wildcards.cohort}/stack"


def forecast(path):
    """A function of the wildcards: a path among the forecasts of the study's cohort."""

    def made(wildcards):
        if lacking := lacking_for_forecasts(COHORT_OF["net2"]):
            stop(lacking)
        return f"results/forecasting/{COHORT_OF['net2']}/{path}"

    return made


def forecast_slabs(wildcards):
    """The slabs of the study's forecasts, with the fold."""
    slabs = forecast("slabs")(wildcards)
    return [slabs, *expand(INDEXED_SLABS[1:], cohort=COHORT_OF["net2"])]


def forecast_shards(cohort, purpose):
    """The folders of all shards of a purpose's forecasts."""
    return [
        f"results/forecasting/{cohort}/forecasts/{purpose}/shards/{shard:03d}"
        for shard in range(DRAWS[purpose]["shards"])
    ]


def sheet(wildcards):
    """The sheet of a cohort: the user's own, or the one the phantom writes."""
    own = config["cohort"][wildcards.cohort]["sheet"]
    return f"results/cohorts/{wildcards.cohort}/sheet.tsv" if own is None else own


def sheet_as_rows(wildcards):
    """The sheet of a rule whose params hold a digest of what it reads there, so that another change reruns nothing.

    The phantom's sheet is left to its time, for Snakemake overlooks changed params behind an ancient file that a job makes.
    """
    own = config["cohort"][wildcards.cohort]["sheet"]
    return sheet(wildcards) if own is None else ancient(own)


def rows_without(*columns):
    """A function of the wildcards: a digest of a cohort's rows of the sheet without these columns."""

    def rows(wildcards):
        scans = SCANS[wildcards.cohort].drop(columns=list(columns), errors="ignore")
        return hashlib.sha256(scans.to_csv(index=False).encode()).hexdigest()[:16]

    return rows


def shards(purpose):
    """The folders of all shards of a purpose, for the rule's cohort and generator."""
    return expand(
        "results/synthesis/{{cohort}}/{{generator}}/{purpose}/shards/{shard}",
        purpose=purpose,
        shard=SHARDS[purpose],
    )


def mixed_shards(wildcards):
    """The shards a mix may choose from, or none where it has no synthetic part."""
    if wildcards.mix.endswith("-0"):
        return []
    return [path.format(**wildcards) for path in shards("mass")]


def leakage_check(wildcards):
    """The record that no held-out patient fed the samples of a mix, or none where it has no synthetic part."""
    if wildcards.mix.endswith("-0"):
        return []
    return "results/privacy/{cohort}/{generator}/leakage.json"


def readers_answers(wildcards):
    """The files that the readers sent back; without any, what to do about it."""
    answers = config["reader_study"]["answers"]
    missing = [path for path in answers if not os.path.isfile(path)]
    if missing:
        stop(f"reader_study.answers: no such file {missing[0]}; correct the path")
    if not answers:
        stop(
            f"results/tables/reader_study.csv needs readers: give results/reader_study/{STUDY}/reader/ to them and "
            "list the files that they save under reader_study.answers (docs/reader-study.md)"
        )
    return answers


def generator_settings(wildcards):
    """The section of a generator as one JSON argument; of an ablation's, that of Long-MS-Diff with its overrides."""
    overrides = ABLATED.get(wildcards.generator, [])
    name = "long_ms_diff" if overrides else wildcards.generator
    section = {"generator": name} | copy.deepcopy(config["synthesis"][name])
    for changes in overrides:
        update_config(section, changes)
    return json.dumps(chosen(section), sort_keys=True)


def named_generator(wildcards):
    """The options of sample-images that name a generator, and the module of one from elsewhere."""
    name = "long_ms_diff" if wildcards.generator in ABLATED else wildcards.generator
    own = config["synthesis"][name].get("module")
    return ["--generator", name, *(["--module", own] if own else [])]


def shard_numbers(generator, purpose):
    """The shards of a plan; the ablation's small networks sample all in one."""
    return SHARDS[purpose][:1] if generator in ABLATED else SHARDS[purpose]


def held_out_shards(wildcards):
    """The shards that a generator sampled for held-out patients."""
    return expand(
        "results/synthesis/{cohort}/{generator}/held_out/shards/{shard}",
        cohort=wildcards.cohort,
        generator=wildcards.generator,
        shard=shard_numbers(wildcards.generator, "held_out"),
    )


def plan_and_detector_of(generator):
    """The generator whose plan one samples and whose detector scores it: its own, for all of the ablation one."""
    return "long_ms_diff" if generator in ABLATED else generator


def fold_settings(wildcards):
    """How the patients of a fold are chosen, as one JSON argument: the cohort's own split, or one of its folds."""
    section = config["cohort"][wildcards.cohort]
    if wildcards.fold == "split":
        choice = {"backend": "split", "options": section["split"]}
    elif section.get("folds"):
        choice = chosen(section["folds"])
    else:
        stop(
            f"cohort.{wildcards.cohort}.folds: expected folds to make fold {wildcards.fold} of, got none; "
            "set it, or use the fold `split`"
        )
    return json.dumps(choice, sort_keys=True)


def parcellation_settings(wildcards):
    """The section of the parcellation as one JSON argument, by the cohort's own backend where it names one."""
    section = config["parcellation"]
    own = config["cohort"][wildcards.cohort].get("parcellation")
    choice = chosen(section | ({"backend": own} if own else {}))
    return json.dumps(choice | {"limits": section["limits"]}, sort_keys=True)


def settings(dpath=None, **parts):
    """One section of the config, or several under names, as one JSON argument of a command.

    A function and no string, for Snakemake reads braces in a string as wildcards.
    """

    def as_json(wildcards):
        own = dpath and dpath.format(**wildcards)
        named = tuple((name, path.format(**wildcards)) for name, path in parts.items())
        return sections_as_json(own, named)

    return as_json


@cache
def sections_as_json(own, named):
    """The section of the path `own`, and sections under names, as JSON: once for all jobs that take the same."""
    values = (section(own) if own else {}) | {
        name: section(path) for name, path in named
    }
    return json.dumps(values, sort_keys=True)


def section(path):
    """A section of the config by its path; Snakemake's lookup takes a third of the time of a plan."""
    found = config
    for key in path.split("/"):
        found = found[key]
    return chosen(found)


def of_generators(path):
    """The files of all generators of the study, by a path with their wildcards."""
    return expand(path, cohort=STUDY, generator=GENERATORS)


def row_keys(*names):
    """A function of the wildcards: what a table's rows are told apart by, as NAME=VALUE of these wildcards."""
    return lambda wildcards: [f"{name}={wildcards[name]}" for name in names]


def variant_keys(wildcards):
    """The variant and the seed of a generator of the ablation; nothing for the others."""
    if wildcards.generator not in ABLATED:
        return []
    _, variant, seed = wildcards.generator.split("/")
    return [f"variant={variant}", f"seed={seed.removeprefix('seed-')}"]


def table(
    cohort=STUDY,
    values=None,
    after=(),
    sections=("tables",),
    local=False,
    group=None,
    **files,
):
    """How a table of msdiff/tables is made: its files by the names of its inputs, and sections of the config.

    `values` are inputs that are no files, `after` what must exist before; a local table takes a moment.
    """
    values = {"cohort": [cohort]} if values is None else values
    options = [
        word for name, words in values.items() for word in ("--input", name, *words)
    ]
    return Table(
        files,
        options,
        list(after),
        settings(**{".".join(section.split("/")): section for section in sections}),
        local,
        group,
    )


def forecast_table(*purposes, sections=()):
    """How a table of forecasts is made: of the slabs, and the scores of these purposes."""
    return table(
        COHORT_OF["net2"],
        sections=["tables", *sections],
        group="forecasts",
        slabs=forecast_slabs,
        **{purpose: forecast(f"forecasts/{purpose}/scores") for purpose in purposes},
    )


def table_inputs(wildcards, input):
    """The options of a table's files."""
    named = (
        (name, [files] if isinstance(files, str) else files)
        for name, files in input.items()
    )
    return [word for name, files in named for word in ("--input", name, *files)]


TABLE_COMMAND = r"""
python -m msdiff table {params.name:q} \
    {params.values:q} \
    {params.inputs:q} \
    --out {output.table:q} \
    --settings {params.settings:q} >{log:q} 2>&1
"""
Table = namedtuple("Table", "files options after settings local group")


def tables_of_run(wildcards):
    """The tables that the report describes: those of `all`, and the readers' if it was made by its name."""
    readers = "results/tables/reader_study.csv"
    made = [readers] if os.path.isfile(readers) else []
    return [f"results/tables/{name}.csv" for name in TABLES] + made
