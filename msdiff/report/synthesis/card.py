"""What the cards say of generators and their follow-ups, as values for card.md.j2."""

from functools import partial
from typing import Any

import pandas as pd

from msdiff.report.phrases import count, listed, number
from msdiff.report.record import Record
from msdiff.report.run import SPLITS
from msdiff.report.synthesis.generators import own_words
from msdiff.report.words import write

# What the config says of the exported set as long as nobody has chosen.
NO_LICENCE = "none given"
INSTANCE = "A real baseline, by reference, and a synthetic follow-up with the mask of what changed in it."


def card_values(record: Record) -> dict[str, Any]:
    """Weights, samples and grid; `own(name, question)` is a generator's own answer."""
    run = record.run
    ablation = run.ours("ablation")
    grid = run.setting(f"cohort.{run.setting('study')}.grid") or run.setting("preprocess.grid") or {}
    shape, spacing = grid.get("shape"), grid.get("spacing_mm")
    licence = run.setting("synthesis.nifti.license")
    instances = {_own(record, name, "instance") or INSTANCE for name in record.manifests}
    return {
        "generators": record.generators,
        "manifests": record.manifests,
        "own": partial(_own, record),
        "shape": " x ".join(f"{value:g}" for value in shape or []),
        "spacing": " x ".join(f"{value:g}" for value in spacing or []),
        "ablation_metrics": [
            name for name in ablation if f"{name}_lo" in ablation and not name.endswith("_difference")
        ],
        "instance": " ".join(sorted(instances)),
        "lenders": _lenders(record),
        "sampled_by": {name: _sampled_by(rows) for name, rows in record.manifests.items()},
        "licensed": "" if licence in (None, NO_LICENCE) else licence,
    }


def _own(record: Record, name: str, question: str) -> str:
    weights = record.generators.get(name)
    settings = {} if weights is None else weights.description.get("settings", {})
    return own_words(name, question, {"name": write(name), "settings": settings})


def _lenders(record: Record) -> str:
    """Which sets the patients come from who lent baselines and masks."""
    split = record.scans.drop_duplicates("subject").set_index("subject")["split"]
    lenders: set[str] = set()
    for manifest in record.manifests.values():
        lenders |= set(manifest["baseline_subject"]) | set(manifest["mask_subject"])
    counts = split.reindex(sorted(lenders)).fillna("without a split").value_counts()
    parts = [f"{n} {SPLITS.get(str(name), str(name))}" for name, n in counts.items()]
    return f"Those of {count(len(lenders), 'patient')}, in the cohort's split {listed(parts)}."


def _sampled_by(manifest: pd.DataFrame) -> str:
    """Weights, and the sampler of a generator that has one."""
    digests = listed([f"`{digest}`" for digest in sorted(set(manifest["weights_sha256"]))])
    first = manifest.iloc[0]
    if not {"sampler", "steps", "guidance_weight"} <= set(manifest) or pd.isna(first["sampler"]):
        return f"Weights SHA-256 {digests}."
    return (
        f"Weights SHA-256 {digests}; sampler {write(str(first['sampler']))}, {count(int(first['steps']), 'step')}, "
        f"guidance weight {number(float(first['guidance_weight']))}."
    )
