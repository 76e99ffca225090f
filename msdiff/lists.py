"""Tab-separated lists that one command writes and another reads: one row per scan, slice, sample or patient."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from msdiff.errors import BadInput


def read_list(
    path: str | Path,
    columns: Sequence[str],
    what: str = "a tab-separated list",
    advice: str = "write it again",
    needs_rows: bool = False,
    **how: Any,
) -> pd.DataFrame:
    """Read a list that has at least `columns`; text stays text, an empty cell is empty text.

    Parameters
    ----------
    what, advice
        For the message: what the file should be, and what to do if it is not.
    needs_rows
        Whether a list without rows is refused.
    how
        Passed on to `pandas.read_csv`, for instance `dtype` of a column whose names are digits.

    Raises BadInput if the file cannot be read, lacks a column, or lacks rows that it needs.
    """
    try:
        table = pd.read_csv(path, sep="\t", **({"keep_default_na": False} | how))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{path}: expected {what}, cannot read it ({reason}); {advice}") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise BadInput(
            f"{path}: missing columns {', '.join(missing)}; expected {what} with {', '.join(columns)}; {advice}"
        )
    if needs_rows and table.empty:
        raise BadInput(f"{path}: expected {what}, got no rows; {advice}")
    return table


def read_results(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a list of results as `read_list` does; an empty cell is a number that does not exist, NaN."""
    return read_list(path, columns, keep_default_na=True)
