"""What all tables share: their settings, their columns, the keys of their rows, and how they are written.

Every table is CSV in UTF-8 with one header row. The first column, `source`, is `msdiff` for what this run computed and
`paper` for a published number; a missing value is empty, and every estimate `m` is followed by `m_lo` and `m_hi`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import pandas as pd
from pydantic import Field, model_validator

from msdiff.errors import BadInput
from msdiff.settings import Settings
from msdiff.writing import whole_file

OURS, PAPER = "msdiff", "paper"
# Enough for a comparison with a paper's three digits, few enough to hide the last bits of a platform.
NUMBER_FORMAT = "%.6g"


class ExpectedCost(Settings):
    """What a wrong voxel costs, and how likely a voxel is new lesion (see msdiff.metrics.voxel.expected_cost)."""

    cost_false_positive: Annotated[float, Field(gt=0)]
    cost_false_negative: Annotated[float, Field(gt=0)]
    prior_negative: Annotated[float, Field(gt=0, lt=1)]
    prior_positive: Annotated[float, Field(gt=0, lt=1)]


class TableSettings(Settings):
    """Section `tables` of the config: intervals, the cost of an error, patients of a figure, scans the report shows.

    patients_per_resample (None: as many as there are) is the size of a resample; lesion_size_edges_mm3 are the volumes,
    ascending, at which one stratum of lesions ends and the next begins.
    """

    confidence_level: Annotated[float, Field(gt=0, lt=1)]
    bootstrap_resamples: Annotated[int, Field(ge=1)]
    bootstrap_seed: Annotated[int, Field(ge=0)]
    patients_per_resample: Annotated[int, Field(ge=1)] | None
    expected_cost: ExpectedCost
    lesion_size_edges_mm3: tuple[Annotated[float, Field(gt=0)], ...]
    figure_patients: Annotated[int, Field(ge=1)]
    quality_pictures: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        edges = self.lesion_size_edges_mm3
        if list(edges) != sorted(set(edges)):
            raise ValueError(f"lesion_size_edges_mm3 expects ascending volumes, got {list(edges)}")
        return self


def with_intervals(metrics: Iterable[str]) -> list[str]:
    """Column names of estimates: each metric followed by its interval's ends.

    >>> with_intervals(["dice"])
    ['dice', 'dice_lo', 'dice_hi']
    """
    return [f"{metric}{end}" for metric in metrics for end in ("", "_lo", "_hi")]


def keys_of(scores: pd.DataFrame, columns: Sequence[str], path: str | Path) -> dict[str, str]:
    """The keys that stand in every row of the scores of a file.

    Raises BadInput where a column is missing, or has another number of values than one.
    """
    keys = {}
    for column in columns:
        values = scores[column].unique() if column in scores else []
        if len(values) != 1 or pd.isna(values[0]):
            raise BadInput(
                f"{path}: expected one value in the column {column}, got {', '.join(map(str, values)) or 'none'}; "
                "score again"
            )
        keys[column] = str(values[0])
    return keys


def assemble(
    ours: Sequence[Mapping[str, Any]], papers: Sequence[Mapping[str, Any]], columns: list[str]
) -> pd.DataFrame:
    """One table: our rows, then the papers', marked in the first column; a column without a value is missing."""
    rows = [{"source": OURS, **row} for row in ours] + [{"source": PAPER, **row} for row in papers]
    return pd.DataFrame(rows, columns=["source", *columns])


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as CSV, numbers with six significant digits."""
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format=NUMBER_FORMAT, lineterminator="\n")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table; keys stay text, missing values are NaN."""
    try:
        return pd.read_csv(path, dtype={"source": str, "cohort": str, "arm": str, "real_synthetic": str})
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: expected a table in CSV, cannot read it ({error})") from error


def read_tables(paths: Iterable[Path]) -> dict[str, pd.DataFrame]:
    """The tables of a run by name, from their files; BadInput if one cannot be read.

    A run names its tables: the folder may hold those of an earlier run of other systems.
    """
    return {path.stem: read_table(path) for path in sorted(paths)}
