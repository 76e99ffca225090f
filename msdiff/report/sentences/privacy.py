"""Sentences on privacy: whether follow-ups repeat training patients, and whether test patients fed the generator."""

import pandas as pd

from msdiff.report.sentences.phrases import Run, capital, count, number, percent, rests_on
from msdiff.report.words import write


def about_privacy(run: Run) -> str:
    """What was flagged by each measure against what the limit flags by itself, and the check for leakage."""
    ours = run.ours("privacy")
    sentences = [about_flagged(row) for _, row in ours.iterrows()]
    sentences.append(
        "The limit is the 99th percentile of real held-out scans, so that about 1 % of images beyond it are no sign of "
        "copying; look at the flagged pairs."
    )
    if (baselines := ours["baseline_similarity_median"].dropna()).size:
        sentences.append(
            f"Follow-ups resemble their own baseline by design (median similarity {_span(baselines)}): who releases "
            "them releases much of these baselines."
        )
    sentences.append(about_leakage(ours))
    sentences.append(rests_on(ours, "training"))
    return " ".join(sentences)


def about_flagged(row: pd.Series) -> str:
    """How many follow-ups lie nearer to a foreign training scan than held-out real scans do, by one measure."""
    flagged, total = int(row["flagged"]), int(row["n_synthetic"])
    lie = "lies" if flagged == 1 else "lie"
    few = f"{flagged} of {total}" if flagged else f"none of {total}"
    return (
        f"{capital(write(str(row['measure'])))}: {few} follow-ups ({percent(flagged / total)}) {lie} nearer to a "
        f"training follow-up of another patient than the limit of {number(row['reference_p99'])} (median "
        f"{number(row['nearest_similarity_median'])})."
    )


def about_leakage(ours: pd.DataFrame) -> str:
    """Whether a patient that was to be held out fed the generator."""
    leaked = int(ours["leaked_patients"].max())
    if not leaked:
        return "No validation or test patient gave the generator a scan, a baseline or a mask."
    return (
        f"{capital(count(leaked, 'held-out patient'))} gave the generator a scan, a baseline or a mask: "
        "no number here that rests on held-out patients holds."
    )


def _span(values: pd.Series) -> str:
    low, high = number(values.min()), number(values.max())
    return low if low == high else f"{low} to {high}"
