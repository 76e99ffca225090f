"""Sentences on the reader study: what readers thought of synthetic and of real follow-ups."""

import numpy as np
import pandas as pd

from msdiff.report.phrases import capital, estimate, limits, listed, number, spelled
from msdiff.report.run import Run
from msdiff.report.words import write

QUESTIONS = ("quality", "plausibility", "adherence")
ALL_READERS = ALL_CASES = "all"


def about_reader_study(run: Run) -> str:
    """The ratings of all readers together: synthetic, real, difference, agreement."""
    ours = run.ours("reader_study")
    everyone = ours[ours["reader"] == ALL_READERS] if ALL_READERS in set(ours["reader"]) else ours
    sentences = []
    for _, row in everyone.iterrows():
        if row["kind"] == "synthetic":
            ratings = [f"{estimate(row, name)} for {name}" for name in QUESTIONS if not np.isnan(row[name])]
            readers = spelled(row["readers"], "reader")
            follow_ups = f"follow-ups of {write(str(row['generator']))}"
            sentences.append(f"{capital(readers)} rated {follow_ups} {listed(ratings)} on a scale of 1 to 5.")
        elif row["kind"] == "difference":
            sentences += [_about_difference(row, name) for name in QUESTIONS]
    n = int(everyone["readers"].max())
    agreements = _agreements(everyone[everyone["kind"] == ALL_CASES])
    if n < 2:
        sentences.append("One reader's taste is no measure of agreement.")
    elif agreements:
        sentences.append(f"Agreement between readers (as the table's caption defines it): {listed(agreements)}.")
    papers = run.papers("reader_study")
    if len(papers):
        row = papers.iloc[0]
        ratings = [f"{number(row[name])} for {name}" for name in QUESTIONS if not np.isnan(row[name])]
        sentences.append(f"The paper's one radiologist gave {listed(ratings)}, to synthetic follow-ups only.")
    return " ".join(sentence for sentence in sentences if sentence)


def _about_difference(row: pd.Series, name: str) -> str:
    """Whether a question tells synthetic from real."""
    if np.isnan(row[name]):
        return ""
    low, high = limits(row, name)
    text = f"{capital(name)} differs by {estimate(row, name)} (synthetic less real)"
    if np.isnan([low, high]).any():
        return f"{text}."
    if low <= 0 <= high:
        return f"{text}; the interval holds 0."
    return f"{text}: synthetic follow-ups were rated {'higher' if low > 0 else 'lower'}."


def _agreements(rows: pd.DataFrame) -> list[str]:
    found = []
    for name in QUESTIONS:
        column = f"{name}_agreement"
        values = rows[column].dropna() if column in rows else pd.Series(dtype=float)
        if len(values):
            found.append(f"{number(values.iloc[0])} for {name}")
    return found
