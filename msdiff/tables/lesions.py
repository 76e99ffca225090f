"""Every true and predicted lesion of all trained detectors, with its volume and what each rule of matching says."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from msdiff.tables.detector_runs import KEYS, DetectorRun, by_training, read_run
from msdiff.tables.layout import OURS, TableSettings
from msdiff.tables.lesion_sizes import size_names, strata
from msdiff.tables.registry import Table, each, one

LESION_COLUMNS = [
    *(*KEYS, "seed", "subject", "follow_up_session", "kind", "label", "volume_mm3", "size"),
    *("matched", "msseg2_matched"),
]


def lesions_table(runs: Sequence[DetectorRun], cohort: str, settings: TableSettings) -> pd.DataFrame:
    """One row per true and predicted lesion of every training, in the order of `by_training`; raises as it."""
    tables = []
    for keys, group in by_training(runs).items():
        for run in group:
            sizes = np.array(size_names(settings.lesion_size_edges_mm3))
            places = strata(run.lesions["volume_mm3"].to_numpy(), settings.lesion_size_edges_mm3)
            columns = dict(zip(KEYS, (cohort, *keys), strict=True)) | {"seed": run.seed, "size": sizes[places]}
            tables.append(run.lesions.assign(source=OURS, **columns)[["source", *LESION_COLUMNS]])
    return pd.concat(tables, ignore_index=True)


TABLE = Table(
    title="every true and predicted lesion",
    make=lesions_table,
    inputs={"runs": each(read_run), "cohort": one(str)},
    settings={"settings": ("tables", TableSettings)},
)
