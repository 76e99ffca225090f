"""The run that sentences are about: its tables and its config."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from msdiff.report.imaging.scans import ScanParts
from msdiff.tables.layout import OURS, PAPER

# What the splits are for.
SPLITS = {"train": "for training", "validation": "for validation", "test": "for testing"}


class Run(NamedTuple):
    """A run.

    tables      by name
    config      all settings
    splits      number of patients per split; empty where not known
    scans       the scans of quality control; None without
    generators  names of the generators whose weights are known; empty where only tables are
    """

    tables: Mapping[str, pd.DataFrame]
    config: Mapping[str, Any]
    splits: Mapping[str, int]
    scans: ScanParts | None = None
    generators: tuple[str, ...] = ()

    def ours(self, name: str) -> pd.DataFrame:
        """The rows of a table that this run computed; empty where there is no such table."""
        return self._rows(name, OURS)

    def papers(self, name: str) -> pd.DataFrame:
        """The rows of a table that a paper published."""
        return self._rows(name, PAPER)

    def setting(self, path: str) -> Any:
        """The value at a dotted path of the config; None where there is none."""
        value: Any = self.config
        for key in path.split("."):
            if not isinstance(value, Mapping) or key not in value:
                return None
            value = value[key]
        return value

    @property
    def chance(self) -> float:
        """Share of intervals that miss the truth by chance: 1 less the confidence level."""
        return round(1 - float(self.setting("tables.confidence_level")), 6)

    def fewest(self, name: str, kind: str) -> dict[str, int]:
        """The smallest number of patients in a table, by their kind; empty without rows of this run."""
        ours = self.ours(name)
        return {kind: int(ours["n"].min())} if len(ours) else {}

    def _rows(self, name: str, source: str) -> pd.DataFrame:
        if name not in self.tables:
            return pd.DataFrame({"source": []})
        table = self.tables[name]
        return table[table["source"] == source]


def simulated(run: Run, cohort: str | None = None) -> bool:
    """Whether the scans of a cohort, without a name the study's, are simulated."""
    name = cohort or run.setting("study")
    return run.setting(f"cohort.{name}") is not None and run.setting(f"cohort.{name}.sheet") is None


def patients_with_pairs(run: Run) -> int | None:
    """Patients of the study with a follow-up, of all splits; None where there is no table of the cohort."""
    return patients_of(run, str(run.setting("study")))


def patients_of(run: Run, cohort: str) -> int | None:
    """Patients of a cohort with a follow-up, of all splits; None where no table counts them."""
    ours = run.ours("cohort")
    if ours.empty:
        return None
    totals = ours.loc[(ours["arm"] == "all") & (ours["cohort"] == cohort), "n"]
    return int(totals.iloc[0]) if len(totals) else None
