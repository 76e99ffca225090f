"""Sentences on privacy: whether follow-ups repeat training patients, and whether held-out ones fed the generator."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from msdiff.report.phrases import capital, count, estimate, listed, number, percent, rests_on, spelled
from msdiff.report.run import Run
from msdiff.report.words import write


def about_privacy(run: Run) -> str:
    """What was flagged by each measure against what the limit flags by itself, and the check for leakage."""
    ours = run.ours("privacy")
    sentences = [about_flagged(row) for _, row in ours.iterrows()]
    share = expected_share(run)
    expected = number(round(share * float(ours["n_synthetic"].max()), 1))
    held_out = count(ours["n_reference"].max(), "held-out patient")
    sentences.append(
        f"The limit is what {percent(share)} of the real slices of {held_out} are beyond, so that about {expected} "
        "flagged follow-ups are no sign of copying; look at the pairs."
    )
    sentences += [sentence for _, row in ours.iterrows() if (sentence := _about_own_baseline(row))]
    sentences.append(about_leakage(ours))
    sentences.append(rests_on(ours, "training"))
    return " ".join(sentences)


def expected_share(run: Run) -> float:
    """Share of real held-out slices beyond the limit, by its percentile."""
    return 1 - float(run.setting("privacy.nearest.percentile")) / 100


def about_flagged(row: pd.Series) -> str:
    """How many follow-ups lie nearer to a foreign training scan than held-out real scans do, by one measure."""
    flagged, total = int(row["flagged"]), int(row["n_synthetic"])
    lie = "lies" if flagged == 1 else "lie"
    few = f"{flagged} of {total}" if flagged else f"none of {total}"
    return (
        f"By {write(str(row['measure']))} {few} follow-ups ({percent(flagged / total)}) {lie} nearer to a "
        f"training follow-up of another patient than the limit of {estimate(row, 'reference_p99')} (their median: "
        f"{estimate(row, 'nearest_similarity_median')}){_baselines(row)}."
    )


def _baselines(row: pd.Series) -> str:
    """What the baselines, real scans, explain of it, as the rest of a sentence; empty where it was not measured."""
    share = row.get("baseline_flagged_share", np.nan)
    return "" if np.isnan(share) else f"; of their own baselines, which are real scans, {percent(share)} do"


def _about_own_baseline(row: pd.Series) -> str:
    """How like their own baseline follow-ups are, beside real ones; empty where it was not measured."""
    if np.isnan([row["baseline_similarity_median"], row["real_similarity_median"]]).any():
        return ""
    return (
        f"By {write(str(row['measure']))} a follow-up has a median similarity of "
        f"{estimate(row, 'baseline_similarity_median')} to its own baseline; a real one has "
        f"{estimate(row, 'real_similarity_median')}."
    )


def about_leakage(ours: pd.DataFrame) -> str:
    """Whether a patient that was to be held out fed the generator."""
    leaked = int(ours["leaked_patients"].max())
    if not leaked:
        return "No validation or test patient gave the generator a scan, a baseline or a mask."
    return (
        f"{capital(spelled(leaked, 'held-out patient'))} gave the generator a scan, a baseline or a mask: "
        "no number here that rests on held-out patients holds."
    )


def about_likeness(run: Run) -> Iterator[str]:
    """The shares beyond the limit by each measure, and the check for leakage."""
    ours = run.ours("privacy")
    if ours.empty:
        return
    shares = [f"{percent(row['flagged_share'])} by {write(str(row['measure']))}" for _, row in ours.iterrows()]
    yield (
        f"Of the new follow-ups {listed(shares)} are beyond the limit of likeness to other patients' training scans, "
        f"which {percent(expected_share(run))} of real held-out slices exceed."
    )
    yield about_leakage(ours)
