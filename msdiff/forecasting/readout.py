"""What sampled NET2 masks say of a patient: active or not, how many lesions, where; with the true outcome.

A folder of scores:

    draws.tsv          one row per patient, arm and draw: number and volume of lesions, and whether one lies in a region
    patients.tsv       one row per patient and arm: its draws summed up, and the truth where the arm is its own
    voxels.tsv         one row per patient, in its own arm, and level of voxel probability: voxels of the brain at that
                       level, and those of them that hold a true lesion
    probability.npy    float16 (row of patients.tsv, z, y, x): share of the draws that hold a lesion in a voxel

Sampled masks are opened before their lesions are counted, true ones are not; see msdiff.metrics.regional. A row's draws
make an ensemble, its map of voxel probabilities (Favero et al., arXiv 2508.07006, 2025, section 2). A region's score is
the highest probability at which the map, cut there and opened, still has a lesion in the region; 0 where it never has
one. `ensemble_count` is the number of lesions of the map cut at half of the draws and opened.

Opening with a box and cutting at a level may change places, so a map is opened once for all its levels.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from msdiff.errors import BadInput
from msdiff.forecasting import COMMON, MASK_ARRAY
from msdiff.forecasting.slabs import Slabs
from msdiff.metrics.regional import REGIONS, ReadoutSettings, opened, read_out
from msdiff.sampling.shards import Shard, joined
from msdiff.stack.writing import open_array
from msdiff.writing import whole_folder

log = logging.getLogger(__name__)

KEYS = ["subject", "arm", "own_arm", "split"]

DRAWS = [*KEYS, "draw", "count", "volume_mm3", *REGIONS]
PATIENTS = [
    *KEYS,
    "draws",
    "activity_probability",
    "count_mean",
    "ensemble_count",
    *(f"{name}_score" for name in REGIONS),
    *(f"{name}_share" for name in REGIONS),
    "true_count",
    "true_active",
    *(f"true_{name}" for name in REGIONS),
]
VOXELS = ["subject", "arm", "probability", "voxels", "positive_voxels"]

Row = dict[str, Any]


def score_forecasts(slabs: Slabs, shards: Sequence[Shard], settings: ReadoutSettings, out: str | Path) -> int:
    """Write the folder of scores of all shards of a purpose; the number of its rows.

    Raises BadInput where a shard is missing, is of other weights or settings than the rest, or of other slabs.
    """
    rows = joined(shards, COMMON)
    of_draws: list[Row] = []
    of_patients: list[Row] = []
    of_voxels: list[Row] = []
    patients = slabs.patients.set_index("subject")
    shape = slabs.grid.shape[::-1]
    _check_slabs(slabs, shards, rows)
    brains, regions, net2 = (slabs.array(name) for name in ("brain_mask", "regions", "net2"))
    with whole_folder(out) as folder, ExitStack() as files:
        probability = open_array(folder / "probability.npy", np.float16, (len(rows), *shape), files)
        for row in tqdm(rows.to_dict("records"), disable=None):
            patient = patients.loc[row["subject"]]
            place = int(patient["row"])
            draws = shards[row["shard"]].read(MASK_ARRAY, row["place"])
            keys = {key: row[key] for key in KEYS}
            single = read_draws(draws, regions[place], settings, slabs.grid.voxel_volume_mm3)
            votes = draws.sum(axis=0, dtype=np.uint16)
            probability.write((votes / len(draws)).astype(np.float16).tobytes())
            is_own = row["arm"] == row["own_arm"]
            of_draws += [keys | scores for scores in single]
            of_patients.append(
                keys
                | summed_up(single)
                | read_ensemble(votes, len(draws), regions[place], settings, slabs.grid.voxel_volume_mm3)
                | (_truth(patient) if is_own else {})
            )
            if is_own:
                of_voxels += [keys | level for level in levels(votes, len(draws), brains[place] > 0, net2[place] > 0)]
        _write(of_draws, DRAWS, folder / "draws.tsv")
        _write(of_patients, PATIENTS, folder / "patients.tsv")
        _write(of_voxels, VOXELS, folder / "voxels.tsv")
    log.info("%d rows of %d patients, %d draws", len(rows), rows["subject"].nunique(), len(of_draws))
    return len(rows)


def read_draws(
    draws: NDArray[np.bool_], regions: NDArray[np.integer], settings: ReadoutSettings, voxel_volume_mm3: float
) -> list[Row]:
    """Draw, count, volume_mm3 and a column per region (0 or 1), for each of the masks (draw, z, y, x)."""
    found = (read_out(opened(mask, settings.opening_voxels), regions, settings, voxel_volume_mm3) for mask in draws)
    return [
        {"draw": draw, "count": readout.lesions, "volume_mm3": readout.volume_mm3}
        | {name: int(there) for name, there in readout.in_region.items()}
        for draw, readout in enumerate(found)
    ]


def summed_up(single: Sequence[Row]) -> Row:
    """Of one row's draws, as `read_draws` gives them: probability of activity, counts, and a share per region."""
    counts = np.array([draw["count"] for draw in single])
    return {
        "draws": len(single),
        "activity_probability": float((counts > 0).mean()),
        "count_mean": float(counts.mean()),
    } | {f"{name}_share": float(np.mean([draw[name] for draw in single])) for name in REGIONS}


def read_ensemble(
    votes: NDArray[np.uint16],
    draws: int,
    regions: NDArray[np.integer],
    settings: ReadoutSettings,
    voxel_volume_mm3: float,
) -> Row:
    """Count and scores by region of a map (z, y, x): how many of `draws` masks hold a lesion in a voxel."""
    smooth = opened(votes, settings.opening_voxels)
    majority = read_out(2 * smooth >= draws, regions, settings, voxel_volume_mm3) if smooth.any() else None
    scores = dict.fromkeys(REGIONS, 0.0)
    for level in np.unique(smooth[smooth > 0])[::-1].tolist():
        readout = read_out(smooth >= level, regions, settings, voxel_volume_mm3)
        for name, there in readout.in_region.items():
            if there and scores[name] == 0:
                scores[name] = level / draws
        if all(scores.values()):
            break
    return {"ensemble_count": majority.lesions if majority else 0} | {
        f"{name}_score": score for name, score in scores.items()
    }


def levels(votes: NDArray[np.integer], draws: int, brain: NDArray[np.bool_], true: NDArray[np.bool_]) -> list[Row]:
    """Probability, voxels and positive_voxels of every level of a map (z, y, x) that some voxel of the brain has."""
    voxels = np.bincount(votes[brain], minlength=draws + 1)
    positive = np.bincount(votes[brain & true], minlength=draws + 1)
    return [
        {"probability": level / draws, "voxels": int(voxels[level]), "positive_voxels": int(positive[level])}
        for level in np.flatnonzero(voxels).tolist()
    ]


def _truth(patient: pd.Series) -> Row:
    return {
        "true_count": int(patient["count"]),
        "true_active": int(patient["count"] > 0),
    } | {f"true_{name}": int(patient[name]) for name in REGIONS}


def _check_slabs(slabs: Slabs, shards: Sequence[Shard], rows: pd.DataFrame) -> None:
    """BadInput where the shards were not sampled from these slabs' patients and sizes."""
    strangers = sorted(set(rows["subject"]) - set(slabs.patients["subject"]))
    if strangers:
        raise BadInput(
            f"{slabs.folder}: expected the patients of the forecasts, {strangers[0]} is missing; sample them again"
        )
    expected = slabs.grid.shape[::-1]
    for shard in shards:
        if shard.shape(MASK_ARRAY)[1:] != expected:
            raise BadInput(
                f"{shard.folder}: expected masks of {expected} voxels (z, y, x) as these slabs have, got "
                f"{shard.shape(MASK_ARRAY)[1:]}; sample them again"
            )


def _write(rows: list[Row], columns: list[str], path: Path) -> None:
    frame = pd.DataFrame(rows, columns=columns)
    for name in columns:
        # A truth that is not known is empty, and what is known stays a whole number.
        if name.startswith("true_"):
            frame[name] = frame[name].astype("Int64")
    frame.to_csv(path, sep="\t", index=False)
