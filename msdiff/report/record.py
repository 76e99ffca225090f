"""What the cards are written from: the record of a run."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from msdiff.forecasting.slabs import Slabs
from msdiff.report.run import Run


class Weights(NamedTuple):
    """Trained weights: their own description, their number of values, their digest."""

    description: Mapping[str, Any]
    n_values: int
    sha256: str


class Record(NamedTuple):
    """A run's record.

    run          tables, config, patients per split
    provenance   as msdiff.report.provenance writes it
    scans        the stack's list of scans
    generators   weights of each generator by name
    manifests    rows of the synthetic follow-ups of each generator by name
    forecasters  weights of each forecaster by name; empty where the run has none
    slabs        what they learned from; None without forecasts
    forecasts    rows of the forecasts by purpose
    """

    run: Run
    provenance: Mapping[str, Any]
    scans: pd.DataFrame
    generators: Mapping[str, Weights]
    manifests: Mapping[str, pd.DataFrame]
    forecasters: Mapping[str, Weights] = MappingProxyType({})
    slabs: Slabs | None = None
    forecasts: Mapping[str, pd.DataFrame] = MappingProxyType({})
