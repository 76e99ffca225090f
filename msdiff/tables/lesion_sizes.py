"""Lesions by their volume: how many of each size a detector finds, and the size of what it marks wrongly.

The edges of the strata stand in the settings; a lesion of just an edge belongs to the larger stratum. Recall is that
of the lesions of a stratum pooled over patients and seeds; false positives are counted by the volume of the prediction,
per patient and training.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.metrics.intervals import pooled
from msdiff.tables.detector_runs import KEYS, DetectorRun, by_training, read_run
from msdiff.tables.estimates import estimate
from msdiff.tables.layout import TableSettings, assemble, with_intervals
from msdiff.tables.registry import Table, each, one

COLUMNS = [*KEYS, "size", "n", "n_lesions", "seeds", *with_intervals(["lesion_recall", "false_positives_per_patient"])]
RECALL = pooled(lambda found, missed: found / (found + missed) if found + missed else np.nan)


def lesion_sizes_table(runs: Sequence[DetectorRun], cohort: str, settings: TableSettings) -> pd.DataFrame:
    """One row per generator, architecture, ratio and stratum of volume, small ones first; raises as `by_training`."""
    names = size_names(settings.lesion_size_edges_mm3)
    rows = []
    for keys, group in by_training(runs).items():
        n_seeds = len(group)
        # (patient, stratum, found or not), added over the seeds.
        true, predicted = (
            np.asarray(sum(_counts(run, kind, settings.lesion_size_edges_mm3) for run in group))
            for kind in ("true", "predicted")
        )
        for stratum, name in enumerate(names):
            found = true[:, stratum]
            row = dict(zip(KEYS, (cohort, *keys), strict=True)) | {"size": name, "n": len(found), "seeds": n_seeds}
            row |= {"n_lesions": int(found.sum()) // n_seeds}
            row |= estimate("lesion_recall", found, settings, RECALL)
            row |= estimate("false_positives_per_patient", predicted[:, stratum, 1] / n_seeds, settings)
            rows.append(row)
    return assemble(rows, [], COLUMNS)


def size_names(edges_mm3: Sequence[float]) -> list[str]:
    """The strata between ascending edges, in mm3.

    >>> size_names([14.0, 65.0])
    ['<14', '14-65', '>=65']
    """
    if not edges_mm3:
        return ["any"]
    edges = [f"{edge:g}" for edge in edges_mm3]
    return [f"<{edges[0]}", *(f"{a}-{b}" for a, b in pairwise(edges)), f">={edges[-1]}"]


def strata(volumes_mm3: NDArray[np.float64], edges_mm3: Sequence[float]) -> NDArray[np.int64]:
    """Number of the stratum of each volume (lesion,); rounded, so that a product of spacings meets its edge."""
    return np.searchsorted(np.asarray(edges_mm3), np.round(volumes_mm3, 6), side="right")


def _counts(run: DetectorRun, kind: str, edges_mm3: Sequence[float]) -> NDArray[np.float64]:
    """Numbers of lesions of a kind (patient, stratum, matched or not), patients as in the run's."""
    counts = np.zeros((len(run.patients), len(edges_mm3) + 1, 2))
    lesions = run.lesions[run.lesions["kind"] == kind]
    patients = pd.Index(run.patients["subject"]).get_indexer(lesions["subject"])
    np.add.at(
        counts, (patients, strata(lesions["volume_mm3"].to_numpy(), edges_mm3), (~lesions["matched"]).astype(int)), 1
    )
    return counts


TABLE = Table(
    title="Detection by size of the lesion",
    make=lesion_sizes_table,
    inputs={"runs": each(read_run), "cohort": one(str)},
    settings={"settings": ("tables", TableSettings)},
)
