"""The datasheet of a run's synthetic follow-ups, under the headings of Gebru et al., Datasheets for Datasets, 2021."""

from msdiff.report.cards.model_card import NO_USE, USE
from msdiff.report.cards.record import Item, Part, Record, code, markdown, seeds
from msdiff.report.forecasting import card as forecaster
from msdiff.report.methods import methods
from msdiff.report.phrases import count, listed, number
from msdiff.report.run import SPLITS, simulated
from msdiff.report.systems import say
from msdiff.report.words import write

OPENING = (
    "Written by the run itself, from its settings, plans and tables. The headings are those of Gebru et al., "
    "Datasheets for Datasets (Communications of the ACM, 2021); what the run's record cannot answer is marked, and "
    "left to who releases the data. **Every image of this set is synthetic.**"
)

# What the config says of the exported set as long as nobody has chosen.
NO_LICENCE = "none given"


def datasheet(record: Record) -> str:
    """The datasheet as Markdown; one for the sets of all generators of the run."""
    parts = (_motivation, _composition, _collection, _preprocessing, _uses, _distribution, _maintenance)
    names = listed([write(name) for name in record.manifests])
    return markdown(f"Datasheet: synthetic follow-ups of {names}", OPENING, [part(record) for part in parts])


def _motivation(record: Record) -> Part:
    return Part(
        "Motivation",
        [
            Item("For what purpose was the set made?", USE),
            Item("Who made it, on whose behalf?"),
            Item("Who funded it?"),
        ],
    )


def _composition(record: Record) -> Part:
    items = [
        Item(
            "What is an instance?",
            "A pair of axial slices: a real baseline, by reference, and a synthetic follow-up with the mask of what "
            "changed in it.",
        )
    ]
    for name, manifest in record.manifests.items():
        donors, baselines = manifest["mask_subject"].nunique(), manifest["baseline_subject"].nunique()
        changed = int((manifest["change_flag"] > 0).sum())
        items.append(
            Item(
                f"How many are there of {write(name)}?",
                f"{count(len(manifest), 'follow-up')}, {changed} of them with change. {count(baselines, 'patient')} "
                f"lent baselines, {count(donors, 'patient')} masks. The lesion volume that the generator was told has "
                f"a median of {number(manifest['change_mm3'].median())} mm\N{SUPERSCRIPT THREE}.",
            )
        )
    items += [
        Item("Whose baselines and masks are they?", _splits(record)),
        *forecaster.about_set(record),
        Item(
            "Is the set a sample of a larger one?",
            "Of all pairs of baselines and masks that the plan could have drawn, at random by its seed.",
        ),
        Item(
            "Are there labels?",
            "The change mask of each follow-up, which the generator was asked for; nobody marked it.",
        ),
        Item("Are there recommended splits?", "All of it is for training. Real patients test what is trained on it."),
        Item("Are there errors or noise?", say("image_quality", record.run)),
        Item(
            "Does it hold what could identify a person?",
            "No: no patient was scanned."
            if simulated(record.run)
            else "A follow-up shows the anatomy of a real patient's baseline: keep it as that patient's scan is kept.",
        ),
        Item("Does it repeat training data?", say("privacy", record.run)),
        Item("Does it tell subgroups apart, by age or sex?"),
    ]
    return Part("Composition", items)


def _splits(record: Record) -> str:
    """Which sets the patients come from who lent baselines and masks."""
    split = record.scans.drop_duplicates("subject").set_index("subject")["split"]
    lenders: set[str] = set()
    for manifest in record.manifests.values():
        lenders |= set(manifest["baseline_subject"]) | set(manifest["mask_subject"])
    counts = split.reindex(sorted(lenders)).fillna("without a split").value_counts()
    parts = [f"{n} {SPLITS.get(str(name), str(name))}" for name, n in counts.items()]
    return f"Those of {count(len(lenders), 'patient')}, in the cohort's split {listed(parts)}."


def _collection(record: Record) -> Part:
    items = [Item("How was it made?", dict(methods(record.run)).get("Follow-ups", ""))]
    for name, manifest in record.manifests.items():
        first = manifest.iloc[0]
        generators = sorted(set(manifest["weights_sha256"]))
        items.append(
            Item(
                f"By which generator ({write(name)})?",
                f"Weights SHA-256 {listed([f'`{digest}`' for digest in generators])}; sampler "
                f"{write(str(first['sampler']))}, {count(int(first['steps']), 'step')}, guidance weight "
                f"{number(float(first['guidance_weight']))}.",
            )
        )
    items += [
        Item("Which seeds?", f"{seeds(record)}. Each follow-up has its own seed, which its manifest names."),
        Item("By which code?", code(record)),
        Item(
            "Where do the real scans come from, and under which licence?",
            "The embedded cohort: deformed MNI152 maps as nilearn ships them, with lesions simulated."
            if simulated(record.run)
            else "",
        ),
        Item(
            "Did the patients consent, and did an ethics board look at it?",
            "There are no patients: the scans are simulated." if simulated(record.run) else "",
        ),
    ]
    return Part("Collection process", items)


def _preprocessing(record: Record) -> Part:
    return Part(
        "Preprocessing, cleaning and labeling",
        [
            Item("What was done to the scans?", dict(methods(record.run)).get("Preprocessing", "")),
            Item(
                "What was done to the follow-ups?",
                "They are written as they were drawn, in 16 bits for intensities of -1 to 1. None was picked or "
                "left out by its look.",
            ),
            Item(
                "Is the raw data kept?",
                "The real scans are not in this set; the stack they are in has the digest below.",
            ),
            Item("Digest of the preprocessed scans.", _stack(record)),
        ],
    )


def _stack(record: Record) -> str:
    digest = record.provenance.get("sha256", {}).get("stack")
    return f"SHA-256 `{digest}`." if digest else ""


def _uses(record: Record) -> Part:
    return Part(
        "Uses",
        [
            Item("What has it been used for?", say("augmentation", record.run)),
            Item(
                "What else could it be used for?",
                "Studies of generative models, and of what detectors learn from them.",
            ),
            Item("What should it not be used for?", NO_USE),
            *([Item("What should forecasts not be used for?", forecaster.NO_USE)] if record.forecasts else []),
            Item(
                "What may do harm?",
                "A detector that trains on it learns this generator's idea of a lesion; a scan taken for real that "
                "is not. Keep the mark.",
            ),
        ],
    )


def _distribution(record: Record) -> Part:
    return Part(
        "Distribution",
        [
            Item(
                "How is it marked?",
                "Each follow-up's manifest row names its generator; the sidecar of an exported file says "
                '`"synthetic": true`.',
            ),
            Item("To whom is it given, and how?"),
            Item("Under which licence?", _licence(record)),
            Item("The code's licence.", "Apache License 2.0."),
        ],
    )


def _licence(record: Record) -> str:
    """The licence that exported follow-ups carry, where the config names one."""
    licence = record.run.setting("synthesis.nifti.license")
    if licence in (None, NO_LICENCE):
        return ""
    return f"{licence}, as the config of the export says; the terms of the real scans hold beside it."


def _maintenance(record: Record) -> Part:
    return Part(
        "Maintenance",
        [
            Item("Who keeps it, and how are they reached?"),
            Item("Will it be updated, and are old versions kept?"),
            Item(
                "Can it be made again?",
                f"By the same config and code ({code(record).rstrip('.')}), from the same scans: every follow-up is "
                "drawn again from its seed, on a CPU to the last bit.",
            ),
            Item("Can others add to it?", "With the same workflow, under another plan seed."),
        ],
    )
