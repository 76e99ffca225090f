"""What to sample: for every sample a baseline, a change mask and a seed, by reference to the stack.

    mass        new follow-ups of training patients: the mask is that of another training patient (the donor), or of
                another slice or scan of the same one, its lesions moved to the nearest places with room in the
                baseline's brain (placement.py). No validation or test patient gives a baseline, a mask or a scalar.
    held_out    follow-ups of patients that the generator never saw, from their own baseline and change mask, to be
                compared with their real follow-ups

A plan's columns are those of msdiff.synthesis.sampling, `scalars` (scan or slice: what the scalars describe), and what
sampling needs to place the same mask: `mirrored`, `rotation_degrees`, `scale` and `shifts`, one of `y,x` in voxels for
each lesion of the donor. `surviving_fraction` is the share of the donor's voxels that found a place.

A sample is a slice, or a whole volume where the generator samples volumes: `slice` and `mask_slice` are -1 there, and a
donor's lesions stay where they are, as far as they lie in the baseline's brain.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt
from scipy import ndimage

from msdiff.errors import BadInput
from msdiff.settings import Settings
from msdiff.stack.reading import WHOLE, Stack
from msdiff.synthesis.placement import (
    AS_IT_IS,
    EIGHT_CONNECTED,
    PlacementSettings,
    Placer,
    Pose,
    choose_pose,
    write_shifts,
)

log = logging.getLogger(__name__)

Item = Literal["slice", "volume"]
# Of the whole follow-up scan, or of the slice alone.
Unit = Literal["scan", "slice"]
SCALARS = ("change_mm3", "change_count", "change_flag")

PURPOSES = ("mass", "held_out")
COLUMNS = [
    "sample",
    "seed",
    "baseline_subject",
    "baseline_row",
    "slice",
    "mask_subject",
    "mask_row",
    "mask_slice",
    "follow_up_row",
    "change_mm3",
    "change_count",
    "change_flag",
    "scalars",
    "mirrored",
    "rotation_degrees",
    "scale",
    "shifts",
    "surviving_fraction",
]


class MassSettings(Settings):
    """Follow-ups for training detectors.

    count                       of samples
    donor                       whose change mask: that of another patient, or of the baseline's own
    slice_window                how far, in slices, the baseline's slice may lie from the donor's
    minimum_surviving_fraction  of the donor's voxels that must find a place; other donors are tried else
    tries                       of a donor and a baseline for one sample, before giving up
    placement                   where a donor's lesions may lie, and how they may be changed
    """

    count: PositiveInt
    donor: Literal["other_patient", "same_patient"]
    slice_window: NonNegativeInt
    minimum_surviving_fraction: Annotated[float, Field(gt=0, le=1)]
    tries: PositiveInt
    placement: PlacementSettings


class HeldOutSettings(Settings):
    """Follow-ups to be scored: up to so many changed slices of each pair of scans of a split."""

    split: Literal["validation", "test"]
    slices_per_pair: PositiveInt


class PlanSettings(Settings):
    """Section `synthesis.plan`; `scalars` is that of the generator."""

    seed: NonNegativeInt
    scalars: Unit
    mass: MassSettings
    held_out: HeldOutSettings


def plan_samples(stack: Stack, purpose: str, settings: PlanSettings, item: Item = "slice") -> pd.DataFrame:
    """The plan of a purpose, one row per sample, which is a slice or a whole volume; see the head of this module.

    Raises BadInput where no scan qualifies.
    """
    if item == "volume":
        settings = settings.model_copy(update={"scalars": "scan"})
    rows = {"mass": _mass, "held_out": _held_out}[purpose](stack, settings, item)
    frame = pd.DataFrame(rows)
    frame["sample"] = np.arange(len(frame))
    frame["seed"] = [_seed(settings.seed, purpose, sample) for sample in frame["sample"]]
    frame["change_flag"] = (frame["change_count"] > 0).astype(int)
    frame["scalars"] = settings.scalars
    log.info("%s: %d samples of %d patients", purpose, len(frame), frame["baseline_subject"].nunique())
    return frame[COLUMNS]


def scalars_of(slices: pd.DataFrame, unit: Unit) -> NDArray[np.float64]:
    """The scalars (slice, 3), in mm3, a number and 0 or 1, of rows of a stack's slices."""
    volume = slices[f"{unit}_change_mm3"].to_numpy(np.float64)
    number = slices[f"{unit}_change_count"].to_numpy(np.float64)
    return np.stack([volume, number, (number > 0).astype(np.float64)], axis=1)


def training_slices(stack: Stack) -> pd.DataFrame:
    """The slices of the training split; BadInput where there are none, or none with a change."""
    slices = stack.slices[stack.slices["split"] == "train"].reset_index(drop=True)
    if slices.empty:
        raise BadInput(f"{stack.folder}: expected pairs of split train, got none; correct the splits of the scan sheet")
    if not (slices["change_voxels"] > 0).any():
        raise BadInput(
            f"{stack.folder}: expected a change mask with something in it in some training patient, all are empty; "
            "give lesion or change masks in the scan sheet"
        )
    return slices


def _mass(stack: Stack, settings: PlanSettings, item: Item) -> list[dict[str, object]]:
    chosen = settings.mass
    slices = training_slices(stack)
    if chosen.donor == "other_patient" and slices["subject"].nunique() < 2:
        raise BadInput(
            f"{stack.folder}: expected two training patients or more, a mask comes from another than the baseline; got "
            f"{slices['subject'].iloc[0]} alone"
        )
    donors = _items(slices[slices["change_voxels"] > 0], item).to_dict("records")
    baselines = _items(slices, item).drop_duplicates(["baseline_row", "slice"])
    records, candidates_of = baselines.to_dict("records"), _candidates(baselines, chosen)
    placer = Placer(stack)
    rows = []
    for sample in range(chosen.count):
        rng = np.random.default_rng([settings.seed, PURPOSES.index("mass"), sample])
        for _ in range(chosen.tries):
            donor = donors[rng.integers(len(donors))]
            candidates = candidates_of(donor["subject"], donor["slice"])
            if len(candidates) == 0:
                continue
            baseline = records[candidates[rng.integers(len(candidates))]]
            pose = choose_pose(chosen.placement, rng) if item == "slice" else AS_IT_IS
            placed = placer.place(
                baseline["baseline_row"],
                baseline["slice"],
                donor["follow_up_row"],
                donor["slice"],
                chosen.placement,
                pose,
            )
            if placed.surviving_fraction >= chosen.minimum_surviving_fraction:
                scalars = _scalars(stack, donor, placed.mask, settings.scalars)
                shifts = write_shifts(placed.shifts)
                rows.append(_row(baseline, donor, -1, pose, shifts, placed.surviving_fraction) | scalars)
                break
        else:
            raise BadInput(
                f"{stack.folder}: sample {sample}: expected a donor's lesions to find a place in a baseline, none of "
                f"{chosen.tries} tries did; lower plan.mass.minimum_surviving_fraction or raise slice_window or "
                "placement.largest_shift_mm"
            )
    return rows


def _items(slices: pd.DataFrame, item: Item) -> pd.DataFrame:
    """The slices themselves, or one row per pair of scans for a whole volume."""
    return slices if item == "slice" else slices.drop_duplicates("pair").assign(slice=WHOLE)


def _candidates(baselines: pd.DataFrame, settings: MassSettings) -> Callable[[str, int], NDArray[np.int64]]:
    """From a donor's patient and slice to the places, in the list of baselines, of those that may take its mask."""
    subjects, numbers = baselines["subject"].to_numpy(), baselines["slice"].to_numpy()

    @cache
    def candidates(subject: str, number: int) -> NDArray[np.int64]:
        near = np.abs(numbers - number) <= settings.slice_window
        own = subjects == subject
        return np.flatnonzero(near & (own if settings.donor == "same_patient" else ~own))

    return candidates


def _held_out(stack: Stack, settings: PlanSettings, item: Item) -> list[dict[str, object]]:
    chosen = settings.held_out
    slices = stack.slices[(stack.slices["split"] == chosen.split) & (stack.slices["change_voxels"] > 0)]
    if slices.empty:
        raise BadInput(
            f"{stack.folder}: expected a slice with a change in split {chosen.split}, got none; correct the splits or "
            "give lesion or change masks in the scan sheet"
        )
    rows = []
    for pair, group in _items(slices, item).groupby("pair"):
        rng = np.random.default_rng([settings.seed, PURPOSES.index("held_out"), int(pair)])
        kept = np.sort(rng.permutation(len(group))[: chosen.slices_per_pair])
        for _, row in group.iloc[kept].iterrows():
            volume, number, _ = scalars_of(row.to_frame().T, settings.scalars)[0]
            scalars = {"change_mm3": volume, "change_count": int(number)}
            rows.append(_row(row, row, int(row["follow_up_row"]), AS_IT_IS, "", 1.0) | scalars)
    return rows


def _row(
    baseline: Any, donor: Any, follow_up_row: int, pose: Pose, shifts: str, surviving_fraction: float
) -> dict[str, object]:
    """A sample's columns, from a row of the stack's slices for its baseline and one for its donor."""
    return {
        "baseline_subject": baseline["subject"],
        "baseline_row": int(baseline["baseline_row"]),
        "slice": int(baseline["slice"]),
        "mask_subject": donor["subject"],
        "mask_row": int(donor["follow_up_row"]),
        "mask_slice": int(donor["slice"]),
        "follow_up_row": follow_up_row,
        "mirrored": int(pose.mirrored),
        "rotation_degrees": pose.rotation_degrees,
        "scale": pose.scale,
        "shifts": shifts,
        "surviving_fraction": round(surviving_fraction, 4),
    }


def _scalars(stack: Stack, donor: Any, mask: NDArray[np.bool_], unit: Unit) -> dict[str, object]:
    """Volume and number of a sample's change: of the donor's scan, or of the placed mask in the slice."""
    if unit == "scan":
        return {"change_mm3": float(donor["scan_change_mm3"]), "change_count": int(donor["scan_change_count"])}
    return {
        "change_mm3": float(mask.sum()) * stack.grid.voxel_volume_mm3,
        "change_count": int(ndimage.label(mask, EIGHT_CONNECTED)[1]),
    }


def _seed(seed: int, purpose: str, sample: int) -> int:
    """A seed of its own for every sample; 62 bits, so that no two of a plan are alike."""
    sequence = np.random.SeedSequence([seed, PURPOSES.index(purpose), sample, 1])
    return int(sequence.generate_state(1, np.uint64)[0] >> 2)
