"""What readers sent back: checked against the key, joined with it, one row per reader and case.

A file has the columns ANSWERS, as the page saves them. A spreadsheet that saved it again may have put semicolons or
tabs for the commas, and its own encoding; both are read. A reader's name counts without regard to case.
"""

import csv
import io
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pandas as pd

from msdiff.errors import BadInput
from msdiff.lists import read_list
from msdiff.reader_study.page import KEY_COLUMNS
from msdiff.reader_study.questions import NAMES, SCORES
from msdiff.settings import Settings

log = logging.getLogger(__name__)

STUDY = r"study-[0-9a-f]{16}"
ANSWERS = ["reader", "study", "case", *NAMES, "comment", "seconds", "time"]
COLUMNS = [
    *("study", "reader", "case", "kind", "generator", "subject", "baseline_row", "follow_up_row", "slice"),
    *("repeat_of", *NAMES, "seconds", "time", "comment"),
]


class ImportSettings(Settings):
    """Section `reader_study.import`; `incomplete`: a reader who left scores out is reported, or refused."""

    incomplete: Literal["report", "refuse"]


def key_path(folder: Path, study: str) -> Path:
    """Where a study's key is kept."""
    return folder / f"{study}.tsv"


def study_of(files: Mapping[Path, pd.DataFrame]) -> str:
    """The study that all files answer; BadInput where they answer several, or none."""
    found = {str(study): path for path, answers in files.items() for study in answers["study"]}
    for study, path in found.items():
        if not re.fullmatch(STUDY, study):
            raise BadInput(f"{path}: expected a study such as study-0123456789abcdef, got {study or 'none'!r}")
    if len(found) > 1:
        (one, path), (other, second), *_ = found.items()
        raise BadInput(f"expected answers to one study, got {one} in {path} and {other} in {second}")
    return next(iter(found))


def read_key(folder: Path, study: str) -> pd.DataFrame:
    """The key of a study, out of a folder of keys; BadInput where there is none."""
    path = key_path(folder, study)
    if not path.is_file():
        raise BadInput(f"{path}: no such key; were these answers given to a page of another run or cohort?")
    key = read_list(path, KEY_COLUMNS, "the key of a reader study", "export the study again", needs_rows=True)
    if list(key.columns) != KEY_COLUMNS:
        raise BadInput(f"{path}: expected the key of a reader study ({', '.join(KEY_COLUMNS)}); export the study again")
    return key


def read_answers(path: str | Path) -> pd.DataFrame:
    """A reader's file as text, empty cells included; BadInput where it is none."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: expected a reader's answers, cannot read it ({error.strerror})") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        # What spreadsheets on Windows write in western Europe.
        text = raw.decode("cp1252", errors="replace")
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise BadInput(f"{path}: expected a reader's answers in CSV, cannot read it ({error})") from error
    missing = [column for column in ANSWERS if not rows or rows[0].get(column) is None]
    if missing:
        raise BadInput(
            f"{path}: expected a reader's answers with the columns {', '.join(ANSWERS)}; {', '.join(missing)} missing; "
            "take the file as the page saved it"
        )
    return pd.DataFrame(rows)[ANSWERS].fillna("").astype(str).apply(lambda column: column.str.strip())


def check_answers(files: Mapping[Path, pd.DataFrame], key: pd.DataFrame, settings: ImportSettings) -> pd.DataFrame:
    """The answers of all files (COLUMNS), without cases that a reader did not answer at all.

    Raises BadInput for unknown cases, scores other than 1 to 5, a case that a reader answered twice, a file without a
    reader's name or without any score, and, as the settings say, for missing scores.
    """
    frames = [_checked(path, answers, key) for path, answers in files.items()]
    answers = pd.concat(frames, ignore_index=True)
    twice = answers[answers.duplicated(["reader", "case"])]
    if not twice.empty:
        row = twice.iloc[0]
        raise BadInput(
            f"{row['path']}: expected one answer of a reader to a case, got case {row['case']} of {row['reader']} "
            "twice; give only the newest file of each reader"
        )
    _tell_missing(answers, len(key), settings)
    joined = answers.merge(key.drop(columns="study"), on="case", validate="many_to_one")
    return joined.sort_values(["reader", "case"], ignore_index=True)[COLUMNS]


def _checked(path: Path, answers: pd.DataFrame, key: pd.DataFrame) -> pd.DataFrame:
    """One file's answers with numbers for cases, scores and seconds; rows without a score are left out."""
    if (answers["reader"] == "").any():
        raise BadInput(f"{path}: expected a reader's name in every row; fill in the column reader")
    unknown = [case for case in answers["case"] if case not in {str(known) for known in key["case"]}]
    if unknown:
        raise BadInput(f"{path}: expected cases from 1 to {len(key)}, got {unknown[0]!r}")
    scores = answers[NAMES].apply(pd.to_numeric, errors="coerce")
    wrong = answers[NAMES].ne("") & ~scores.isin(SCORES)
    if wrong.any(axis=None):
        row, name = next((row, name) for name in NAMES for row in answers.index[wrong[name]])
        raise BadInput(
            f"{path}: case {answers['case'][row]}, {name}: expected a score from 1 to 5, got {answers[name][row]!r}; "
            "ask the reader and correct the file"
        )
    if scores.isna().all(axis=None):
        raise BadInput(f"{path}: expected at least one score, got none; was the file saved before the reading?")
    checked = answers.assign(
        **scores.astype("Int64"),
        path=str(path),
        reader=answers["reader"].str.casefold(),
        case=answers["case"].astype(int),
        seconds=pd.to_numeric(answers["seconds"], errors="coerce"),
        comment=answers["comment"].str.split().str.join(" "),
    )
    return checked[scores.notna().any(axis=1)]


def _tell_missing(answers: pd.DataFrame, cases: int, settings: ImportSettings) -> None:
    for reader, own in answers.groupby("reader"):
        complete = set(own.loc[own[NAMES].notna().all(axis=1), "case"])
        missing = [str(case) for case in range(1, cases + 1) if case not in complete]
        if not missing:
            continue
        text = f"{reader}: {len(missing)} of {cases} cases without all three scores: {', '.join(missing)}"
        if settings.incomplete == "refuse":
            raise BadInput(f"{text}; ask the reader to finish, or set reader_study.import.incomplete to report")
        log.warning("%s", text)
