"""Scan sheets: tab-separated, one row per scan of a patient.

    subject                 sub- and letters or digits
    session                 ses- and letters or digits; sorts by name as by time
    days                    whole number, since the patient's first scan
    flair, t1w, ...         images by contrast (CONTRASTS)
    lesion_mask             all lesions that stand at this scan, on the FLAIR grid
    change_mask             what changed since the patient's session before it, on the FLAIR grid
    change_mask_transform   ITK affine of this scan's FLAIR to the space the change mask lies in, where that is another
    enhancing_mask          lesions that take up gadolinium, on the FLAIR grid
    brain_mask              on the FLAIR grid
    arm                     treatment, free text
    split                   train, validation or test
    exclude                 why the scan is left out, free text; empty where it is used

An empty cell means: not there. Paths are absolute, or relative to the sheet's folder. Columns that are not needed may
be left out. A patient with one session is in the cohort, and in no pair.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from msdiff.errors import BadInput
from msdiff.patients import MASKS
from msdiff.writing import whole_file

CONTRASTS = ("flair", "t1w", "t2w", "pdw", "t1ce")
MASK_COLUMNS = (*MASKS, "change_mask_transform")
REQUIRED = ("subject", "session", "days")
SPLITS = ("train", "validation", "test")
OF_CHANGE = ["change_mask", "change_mask_transform"]
PATTERNS = {"subject": r"sub-[A-Za-z0-9]+", "session": r"ses-[A-Za-z0-9]+", "days": r"[0-9]{1,6}"}

log = logging.getLogger(__name__)


def read_sheet(path: str | Path, contrasts: Sequence[str], check_files: bool = True) -> pd.DataFrame:
    """Read and check a sheet for the contrasts a run asks for, of which the first must be there in every scan.

    Returns rows sorted by subject and session, all columns of the module's list that matter here: `subject`, `session`,
    `days` (int), the contrasts, the masks, `arm`, `split`. Strings are empty where something is missing; paths are
    absolute. Excluded scans are named in the log and left out (`drop_excluded`); nothing but their names is checked.
    Files are looked for unless `check_files` is false (scans that are yet to be simulated).

    Raises BadInput with one line that names sheet, row and column.
    """
    path = Path(path)
    table = _read(path)
    _check_columns(path, table, contrasts)
    for column in (*contrasts, *MASK_COLUMNS, "arm", "split", "exclude"):
        if column not in table:
            table[column] = ""
    _check_names(path, table)
    table = drop_excluded(table)
    if table.empty:
        raise BadInput(f"{path}: expected a scan to use, got all excluded; empty a cell of the column exclude")
    _check_cells(path, table, contrasts[0])
    table["days"] = table["days"].astype(int)
    _check_patients(path, table)
    for column in (*contrasts, *MASK_COLUMNS):
        table[column] = [_resolve(path.parent, cell) for cell in table[column]]
        if check_files:
            for row, cell in zip(table.itertuples(), table[column], strict=True):
                if cell and not Path(cell).is_file():
                    raise _fault(path, row, column, f"no such file: {cell}", "correct the path, or empty the cell")
    return table[[*REQUIRED, *contrasts, *MASK_COLUMNS, "arm", "split"]]


def drop_excluded(table: pd.DataFrame) -> pd.DataFrame:
    """The scans whose `exclude` is empty, sorted by subject and session; the others are named in the log.

    A change mask that counts from an excluded scan is emptied, for the baseline then is an earlier one.
    """
    table = table.sort_values(["subject", "session"], kind="stable").reset_index(drop=True)
    excluded = table["exclude"] != ""
    for scan in table[excluded].itertuples():
        log.info("leave out %s %s: %s", scan.subject, scan.session, scan.exclude)
    after_excluded = excluded.groupby(table["subject"]).shift(fill_value=False)
    for scan in table[after_excluded & ~excluded & (table["change_mask"] != "")].itertuples():
        log.info("leave out the change mask of %s %s: the scan before is excluded", scan.subject, scan.session)
    table.loc[after_excluded, OF_CHANGE] = ""
    return table[~excluded].reset_index(drop=True)


def write_sheet(table: pd.DataFrame, path: str | Path) -> None:
    """Write a sheet whose paths are absolute or relative to the working folder; they become relative to its folder."""
    path = Path(path)
    table = table.copy()
    for column in table.columns.intersection([*CONTRASTS, *MASK_COLUMNS]):
        table[column] = [os.path.relpath(cell, path.parent) if cell else "" for cell in table[column]]
    write_table(table, path)


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a working list as tab-separated text."""
    with whole_file(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False)


def _read(path: Path) -> pd.DataFrame:
    try:
        # Spreadsheets write a byte order mark.
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise BadInput(
            f"{path}: no such sheet; write one with `python -m msdiff index-scans --source SOURCE --root DIR "
            "--out SHEET`, or correct the path"
        ) from error
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{path}: expected a tab-separated sheet, cannot read it ({reason})") from error
    if table.empty:
        raise BadInput(f"{path}: expected one row per scan, got none")
    # A row with fewer cells than the header has leaves true gaps, which pandas fills with NaN all the same.
    return table.fillna("").apply(lambda column: column.str.strip())


def _check_columns(path: Path, table: pd.DataFrame, contrasts: Sequence[str]) -> None:
    known = {*REQUIRED, *CONTRASTS, *contrasts, *MASK_COLUMNS, "arm", "split", "exclude"}
    for column in table.columns:
        if column not in known:
            raise BadInput(f"{path}: unknown column {column!r}; expected some of {', '.join(sorted(known))}")
    for column in REQUIRED:
        if column not in table:
            raise BadInput(f"{path}: missing column {column!r}; are the columns separated by tabs?")
    if not table.columns.isin([*CONTRASTS, *contrasts]).any():
        raise BadInput(f"{path}: expected a column for a contrast ({', '.join(contrasts)}), got none")
    for contrast in contrasts:
        if contrast not in table:
            raise BadInput(
                f"{path}: missing column {contrast!r}, a contrast the configuration asks for; add the column, or take "
                "it out of contrasts"
            )


def _check_names(path: Path, table: pd.DataFrame) -> None:
    for column in ("subject", "session"):
        _check_pattern(path, table, column)
    for row in table[table.duplicated(["subject", "session"])].itertuples():
        raise _fault(path, row, "session", "the scan is listed twice", "remove one of the rows")


def _check_pattern(path: Path, table: pd.DataFrame, column: str) -> None:
    pattern = PATTERNS[column]
    for row in table[~table[column].str.fullmatch(pattern)].itertuples():
        raise _fault(path, row, column, f"expected {pattern}, got {getattr(row, column)!r}", "correct the cell")


def _check_cells(path: Path, table: pd.DataFrame, first_contrast: str) -> None:
    _check_pattern(path, table, "days")
    for row in table[~table["split"].isin(["", *SPLITS])].itertuples():
        raise _fault(path, row, "split", f"expected {', '.join(SPLITS)} or nothing, got {row.split!r}", "correct it")
    for row in table[table[first_contrast] == ""].itertuples():
        raise _fault(
            path, row, first_contrast, "expected a file, got an empty cell", "exclude the scan or add its path"
        )
    for row in table[(table["change_mask_transform"] != "") & (table["change_mask"] == "")].itertuples():
        raise _fault(path, row, "change_mask_transform", "a transform without a change_mask", "add the mask")


def _check_patients(path: Path, table: pd.DataFrame) -> None:
    for subject, scans in table.groupby("subject"):
        for column in ("split", "arm"):
            if scans[column].nunique() > 1:
                several = ", ".join(repr(value) for value in scans[column].unique())
                row = next(scans[scans[column] != scans[column].iloc[0]].itertuples())
                raise _fault(path, row, column, f"one patient in several: {several}", f"give {subject} one {column}")
        backwards = scans[scans["days"].diff() <= 0]
        for row in backwards.itertuples():
            reason = f"expected more days than at the session before, got {row.days}"
            raise _fault(path, row, "days", reason, "sessions sort by name as by time")


def _resolve(folder: Path, cell: str) -> str:
    return os.path.abspath(folder / cell) if cell else ""


def _fault(path: Path, row: object, column: str, reason: str, remedy: str) -> BadInput:
    subject, session = getattr(row, "subject", "?"), getattr(row, "session", "?")
    return BadInput(f"{path}: {subject} {session}, column {column}: {reason}; {remedy}")
