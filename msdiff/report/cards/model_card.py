"""The model card of a run's generators, under the headings of MI-CLAIM-GEN.

Miao et al., The MI-CLAIM-GEN checklist for generative artificial intelligence in health, arXiv 2403.02558 and Nature
Medicine 2025, which extends MI-CLAIM (Norgeot et al., Nature Medicine 2020). The headings are the checklist's, the
questions are its items in our words.
"""

import numpy as np
import pandas as pd

from msdiff.report.cards.record import Item, Part, Record, Weights, code, grid, markdown, seeds
from msdiff.report.compute.sentences import duration
from msdiff.report.forecasting import card as forecaster
from msdiff.report.methods import methods
from msdiff.report.phrases import count, listed, number
from msdiff.report.run import SPLITS, patients_with_pairs, simulated
from msdiff.report.summary import warning
from msdiff.report.systems import say
from msdiff.report.words import write

OPENING = (
    "Written by the run itself, from its settings, weights and tables. The headings are those of MI-CLAIM-GEN (Miao "
    "et al., arXiv 2403.02558); what the run's record cannot answer is marked, and left to who releases the "
    "weights. Numbers are estimates with their interval in brackets, as in the tables beside the report."
)
USE = (
    "Research: to add follow-up scans with known new lesions to the training data of detectors, and to study "
    "generative models. A follow-up shows the change that it was asked for; it forecasts nothing."
)
NO_USE = (
    "Diagnosis, prognosis, choice of a treatment, or any other decision about a patient; as test data; as a "
    "substitute for real scans in a claim about real scans."
)

# By the rule that trains them.
TRAININGS = {
    "train_generator": "generators",
    "train_prior": "the prior of forecasters",
    "train_control": "forecasters",
}


def model_card(record: Record) -> str:
    """The card as Markdown; one for all generators and forecasters of the run."""
    names = listed(
        [write(name) for name in record.generators] + ["forecasters of new lesions"] * bool(record.forecasters)
    )
    parts = (_model, _study_design, _resources, _performance, _examination, _reproducibility)
    return markdown(f"Model card: {names}", OPENING, [part(record) for part in parts])


def _model(record: Record) -> Part:
    items = [Item(f"{write(name)}.", _about_weights(weights)) for name, weights in record.generators.items()]
    items += [
        Item("Intended use.", USE),
        Item("Not intended.", NO_USE),
        Item("Known limits.", _limits(record)),
        *forecaster.about_weights(record),
        Item("Licence.", "The code is under the Apache License 2.0. That of the weights is not in the run's record."),
        Item("Who made and who answers for the weights."),
    ]
    return Part("Model", items)


def _about_weights(weights: Weights) -> str:
    settings = weights.description.get("settings", {})
    return (
        f"A diffusion model of single slices of {str(settings.get('contrast', 'one contrast')).upper()}, "
        f"{weights.n_values} parameters, weights SHA-256 {weights.sha256}."
    )


def _limits(record: Record) -> str:
    run = record.run
    shape, spacing = run.setting("preprocess.grid.shape"), run.setting("preprocess.grid.spacing_mm")
    limits = ["Slices are drawn one by one, so that neighbours need not fit together to a volume."]
    if shape and spacing:
        voxels, sizes = (" x ".join(f"{value:g}" for value in values) for values in (shape, spacing))
        limits.append(f"Scans of another grid than {voxels} voxels of {sizes} mm must be brought to it first.")
    if simulated(run):
        limits.append("Trained on simulated scans: of real ones it knows nothing.")
    return " ".join([*limits, warning(run)]).strip()


def _study_design(record: Record) -> Part:
    run = record.run
    study = run.setting("study")
    pairs = run.setting(f"cohort.{study}.pairs") or {}
    patients = patients_with_pairs(run)
    cohort = [f"The cohort {study}."] if study else []
    if simulated(run):
        cohort.append("It is simulated: no patient was scanned.")
    if patients is not None:
        cohort.append(f"{count(patients, 'patient')} with a follow-up.")
    if pairs:
        cohort.append(
            f"Pairs are consecutive sessions {pairs['minimum_days']} to {pairs['maximum_days']} days apart; scans "
            "that the sheet excludes are left out."
        )
    by_split = [f"{n} {SPLITS.get(split, split)}" for split, n in run.splits.items()]
    arms = run.ours("cohort")
    metrics = [name for name in arms if f"{name}_lo" in arms]
    keys = ["cohort", "arm", "n"] if len(arms) and arms["cohort"].nunique() > 1 else ["arm", "n"]
    return Part(
        "Study design (Part 1)",
        [
            Item(
                "Clinical problem.",
                "Detectors of new lesions in multiple sclerosis learn from follow-up scans with change, of which "
                "there are few; generated follow-ups may add to them.",
            ),
            Item(
                "Research question.",
                "Whether generated follow-ups resemble real ones where and how they changed, and whether a detector "
                "that also trains on them finds more new lesions of real test patients.",
            ),
            Item("Cohort and its selection.", " ".join(cohort)),
            *forecaster.about_cohort(record),
            Item("Patients by use.", f"{listed(by_split)}; a patient is in one set only." if by_split else ""),
            Item("Characteristics.", say("cohort", run), grid(arms, keys, metrics) if len(arms) else ""),
            Item("Age, sex, disease course, scanners."),
            Item(
                "Whether the cohort is like the patients of a clinic.",
                "No: it is simulated." if simulated(run) else "",
            ),
            Item("Reference standard: who marked the lesions, and how well they agree.", _reference(record)),
            Item("Ethics approval and consent.", "None needed: no patient was scanned." if simulated(run) else ""),
        ],
    )


def _reference(record: Record) -> str:
    return "The change masks are those that the simulation drew." if simulated(record.run) else ""


def _resources(record: Record) -> Part:
    run = record.run
    parts = dict(methods(run))
    compute = run.ours("compute")
    hours = " ".join(_hours(row, TRAININGS[row["rule"]]) for _, row in compute.iterrows() if row["rule"] in TRAININGS)
    starts = {
        name: weights.description.get("settings", {}).get("pretrained") for name, weights in record.generators.items()
    }
    started = [write(name) for name, start in starts.items() if start]
    return Part(
        "Resources and optimization (Parts 2, 3)",
        [
            Item("Origin, format and licence of the data.", _origin(record)),
            Item("What was done to the scans.", parts.get("Preprocessing", "")),
            Item("Independence of training and test data.", _independence(record)),
            Item(
                "Start of the training.",
                f"{listed(started)} started from weights that were trained before; their data are not in this record."
                if started
                else "From random weights; no foundation model is used.",
            ),
            Item("Model and training.", parts.get("Generator", "")),
            Item("Drawing of follow-ups.", parts.get("Follow-ups", "")),
            *forecaster.about_training(record),
            Item(
                "Baselines.",
                "A copy of the baseline, a blurred one, and one with the mask painted in; for detectors, real "
                "slices alone.",
            ),
            Item("Computing.", hours),
        ],
    )


def _hours(row: pd.Series, what: str) -> str:
    """What the trainings of a rule took."""
    gpus = "GPU hours not recorded" if np.isnan(row["gpu_hours"]) else f"{number(row['gpu_hours'])} GPU hours"
    return (
        f"Trainings of {what}: {duration(row['wall_hours'])} over {count(row['jobs'], 'job')}, {gpus}, at most "
        f"{number(row['max_rss_gb'])} GiB of memory."
    )


def _origin(record: Record) -> str:
    if simulated(record.run):
        return (
            "The embedded cohort: deformed MNI152 maps as nilearn ships them, with lesions, scanners and head poses "
            "simulated, written as NIfTI."
        )
    return ""


def _independence(record: Record) -> str:
    privacy = record.run.ours("privacy")
    split = "Patients are assigned to one set each before anything is trained."
    if privacy.empty:
        return f"{split} The check for leakage is not among this run's tables."
    leaked = int(privacy["leaked_patients"].max())
    return (
        f"{split} Checked on the generated follow-ups: {count(leaked, 'held-out patient')} gave a baseline or a mask."
    )


def _performance(record: Record) -> Part:
    run = record.run
    images, detection, readers = (run.ours(name) for name in ("image_quality", "augmentation", "reader_study"))
    errors = ["mae", "ms_ssim", "change_mae", "lesion_contrast_ratio", "adherence_dice"]
    lesions = ["dice", "lesion_recall", "lesion_precision", "lesion_f1", "msseg2_f1", "false_positives_per_patient"]
    questions = ["quality", "plausibility", "adherence"]
    return Part(
        "Model performance and evaluation (Part 4)",
        [
            Item(
                "Metrics, and why.",
                "Errors by region, because a copy of the baseline is right almost everywhere but not where "
                "something changed; contrast and adherence, because a lesion must be seen where it was asked for; "
                "detection of real new lesions, because that is the use.",
            ),
            Item("Statistics.", dict(methods(run)).get("Statistics", "")),
            Item(
                "Images.",
                say("image_quality", run),
                grid(images, ["generator", "region", "n"], errors) if len(images) else "",
            ),
            Item(
                "Use for detection.",
                say("augmentation", run),
                grid(detection, ["generator", "architecture", "real_synthetic", "n", "seeds"], lesions)
                if len(detection)
                else "",
            ),
            Item("Tests against real slices alone.", say("augmentation_tests", run)),
            Item("By size of the lesion.", say("lesion_sizes", run)),
            *forecaster.about_performance(record),
            Item(
                "Human evaluation.",
                say("reader_study", run) or "No reader's answers are among this run's tables.",
                grid(readers, ["generator", "reader", "kind", "n"], questions) if len(readers) else "",
            ),
            Item("Performance by age, sex, scanner or centre."),
            Item("Validation on data of another centre, or in use."),
        ],
    )


def _examination(record: Record) -> Part:
    run = record.run
    ablation = run.ours("ablation")
    metrics = [name for name in ablation if f"{name}_lo" in ablation and not name.endswith("_difference")]
    return Part(
        "Model examination (Part 5)",
        [
            Item(
                "What each idea of the method buys.",
                say("ablation", run),
                grid(ablation, ["variant", "n", "seeds"], metrics) if len(ablation) else "",
            ),
            Item("Privacy and memorisation.", say("privacy", run)),
            *forecaster.about_treatments(record),
            Item(
                "Failures to expect.",
                "Lesions at places or of shapes that disease does not make, because masks are moved; change where "
                "none was asked for (see outside in the table of images); detectors that learn the generator's "
                "lesions and not real ones, which a fall of lesion F1 at high ratios would show.",
            ),
            Item("Robustness to other scanners, sequences and centres."),
            Item("Harms: who was asked, and what was found."),
        ],
    )


def _reproducibility(record: Record) -> Part:
    provenance = record.provenance
    digests = provenance.get("sha256", {})
    held: list[str] = []
    names = {"stack": "preprocessed scans", "slabs": "slabs of the forecasts"}
    held += [f"{name} `{digests[array]}`" for array, name in names.items() if array in digests]
    for kind in ("sheet", "weights", "tables"):
        held += [f"{kind} {name} `{value}`" for name, value in digests.get(kind, {}).items()]
    return Part(
        "Reproducibility (Part 6)",
        [
            Item("Code.", f"{code(record)} One command runs the workflow from scans to tables."),
            Item("Seeds.", seeds(record)),
            Item("Data, weights and tables by their SHA-256.", "; ".join(held) + "." if held else ""),
            Item("Made.", f"{provenance['date_utc']}, record written on {provenance['device']}."),
            Item(
                "Versions.",
                f"Python {provenance['python']} and {len(provenance['packages'])} packages, in provenance.json.",
            ),
            Item("Where weights and data can be had, and under what licence."),
        ],
    )
