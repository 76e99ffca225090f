"""Plain sentences about a table: what its numbers show, and what they do not."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from msdiff.report.scans import ScanParts
from msdiff.report.words import write
from msdiff.tables.image_quality import NOISE_FLOOR, REFERENCES
from msdiff.tables.layout import OURS

# Below this number of test patients an interval is wider than any effect in the papers.
FEW_PATIENTS = 10
REAL_ONLY = "1:0"
# Where a generated lesion counts as bright as a real one.
CONTRAST_RANGE = (0.7, 1.3)


def warning(tables: Mapping[str, pd.DataFrame]) -> str:
    """What the size of the test set forbids to conclude; empty where it is large enough to conclude something."""
    sizes = {
        what: int(_ours(tables[name])["n"].min())
        for name, what in (("augmentation", "test"), ("image_quality", "held-out"))
        if name in tables and len(_ours(tables[name]))
    }
    small = [_count(n, what) for what, n in sizes.items() if n < FEW_PATIENTS]
    if not small:
        return ""
    return (
        f"This run proves nothing about any method. Its tables rest on {' and '.join(small)}, and with fewer than "
        f"{FEW_PATIENTS} one patient more or less can turn any comparison around. It shows that the workflow runs from "
        "raw scans to this page, and nothing else."
    )


def say(name: str, table: pd.DataFrame) -> str:
    """What the rows of this run show and do not show; empty for a table without sentences or rows."""
    ours = _ours(table)
    return SENTENCES[name](ours) if name in SENTENCES and len(ours) else ""


def about_augmentation(ours: pd.DataFrame) -> str:
    """Whether synthetic slices helped each detector, by its lesion F1 and the intervals."""
    sentences = []
    for (generator, architecture), group in ours.groupby(["generator", "architecture"]):
        group = group.dropna(subset=["lesion_f1"]).set_index("real_synthetic")
        name = write(architecture)
        name = name[0].upper() + name[1:]
        if len(group) < 2 or REAL_ONLY not in group.index:
            sentences.append(f"{name}: too few ratios with a lesion F1 to compare.")
            continue
        real, best = group.loc[REAL_ONLY], group.loc[group["lesion_f1"].idxmax()]
        if best.name == REAL_ONLY:
            sentences.append(
                f"{name}: no mix with {write(generator)} reached the lesion F1 of real slices alone "
                f"({_number(real['lesion_f1'])})."
            )
            continue
        if np.isnan([best["lesion_f1_lo"], real["lesion_f1_hi"]]).any():
            verdict = "; there are no intervals, so that chance may explain it"
        elif best["lesion_f1_lo"] > real["lesion_f1_hi"]:
            verdict = "; the intervals do not overlap"
        else:
            verdict = "; the intervals overlap, so that chance may explain it"
        sentences.append(
            f"{name}: lesion F1 was highest at {best.name} ({_number(best['lesion_f1'])}, against "
            f"{_number(real['lesion_f1'])} with real slices alone){verdict}."
        )
    sentences.append(_patients(ours, "test"))
    sentences.append("The papers' numbers come from another cohort, so a row of theirs is no target for ours.")
    return " ".join(sentences)


def about_image_quality(ours: pd.DataFrame) -> str:
    """Whether the generators put lesions where they were asked to, and whether they beat a copy of the baseline."""
    sentences = []
    lesions = ours[ours["region"] == "lesion"].set_index("generator")
    names = [name for name in lesions.index if not name.endswith("_baseline") and name not in REFERENCES]
    for name in names:
        row = lesions.loc[name]
        contrast = _first(ours, name, "lesion_contrast_ratio")
        if not np.isnan(contrast):
            low, high = CONTRAST_RANGE
            verdict = "about as bright as real ones" if low <= contrast <= high else "not as bright as real ones"
            sentences.append(f"{write(name)} draws lesions that are {verdict} (contrast ratio {_number(contrast)}).")
        brain, floor = _first(ours[ours["region"] == "brain"], name, "mae"), _first(ours, NOISE_FLOOR, "mae")
        if floor > 0 and not np.isnan(brain):
            sentences.append(f"Its error in the brain is {_number(brain / floor)} times the noise floor.")
        if "copy_baseline" in lesions.index:
            copied = lesions.loc["copy_baseline", "mae"]
            better = "below" if row["mae"] < copied else "not below"
            sentences.append(
                f"Inside the change its error is {better} that of a copy of the baseline "
                f"({_number(row['mae'])} against {_number(copied)})."
            )
    sentences.append(_patients(ours, "held-out"))
    sentences.append("A small error says that an image resembles the real one, not that it is useful or safe to use.")
    return " ".join(sentences)


def about_cohort(ours: pd.DataFrame) -> str:
    """How much there is to learn from."""
    total = ours[ours["arm"] == "all"].iloc[0]
    counts = [
        f"{_number(total[column])} new lesions at {column.removeprefix('mean_net2_')}"
        for column in ours.columns
        if column.startswith("mean_net2_") and not column.endswith(("_lo", "_hi")) and not np.isnan(total[column])
    ]
    found = f"{int(total['n'])} patients have {' and '.join(counts)} on average." if counts else ""
    return f"{found} Arms are compared as they are in the data: a difference between them is no effect of a treatment."


def about_compute(ours: pd.DataFrame) -> str:
    """Where the time went."""
    slowest = ours.loc[ours["wall_hours"].idxmax()]
    hours = ours["wall_hours"].sum()
    share = 100 * slowest["wall_hours"] / hours if hours else 0
    return (
        f"{int(ours['jobs'].sum())} jobs took {_duration(hours)} in all, {share:.0f} % of it in "
        f"{write(slowest['rule'])}. "
        "Hours on another machine, and at another size of network and cohort, cannot be compared with the paper's."
    )


def about_quality(ours: pd.DataFrame) -> str:
    """What the measures say of the scans, and what they cannot."""
    flagged = ours[ours["flagged"] > 0]
    found = [f"{row.measure} ({_scans(int(row.flagged))})" for row in flagged.itertuples()]
    beyond = f"Outside the accepted range: {'; '.join(found)}." if found else "No scan lies outside the limits."
    return f"{beyond} Numbers find gross faults; look at the pictures for the others."


def about_flagged(scans: ScanParts) -> str:
    """The flagged scans with their reasons, and how to leave one out."""
    if not scans.flagged:
        return f"none of {len(scans.scans)}"
    names = "; ".join(f"{scan.name}: {scan.flag}" for scan in scans.flagged)
    return (
        f"{len(scans.flagged)} of {len(scans.scans)}, worst first. {names}. To leave a scan out, write the "
        "reason into the column exclude of the sheet and run again."
    )


def about_excluded(scans: ScanParts) -> str:
    """The scans that the sheet leaves out, with its reasons."""
    return "; ".join(f"{name}: {reason}" for name, reason in scans.excluded) or "none"


SENTENCES: dict[str, Callable[[pd.DataFrame], str]] = {
    "augmentation": about_augmentation,
    "image_quality": about_image_quality,
    "cohort": about_cohort,
    "quality": about_quality,
    "compute": about_compute,
}


def _ours(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["source"] == OURS]


def _first(ours: pd.DataFrame, generator: str, metric: str) -> float:
    """The first value of a metric that only some regions have."""
    values = ours.loc[ours["generator"] == generator, metric].dropna()
    return float(values.iloc[0]) if len(values) else np.nan


def _patients(ours: pd.DataFrame, kind: str) -> str:
    n = int(ours["n"].min())
    few = ", too few for any conclusion" if n < FEW_PATIENTS else ""
    return f"All this rests on {_count(n, kind)}{few}."


def _count(n: int, kind: str) -> str:
    return f"{n} {kind} patient{'' if n == 1 else 's'}"


def _scans(n: int) -> str:
    return f"{n} scan{'' if n == 1 else 's'}"


def _number(value: float) -> str:
    return f"{value:.3g}"


def _duration(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
