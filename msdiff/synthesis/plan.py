"""What to draw: for every sample a baseline, a change mask and a seed, by reference to the stack.

    mass        new follow-ups of training patients: the mask is that of another training patient (the donor), placed
                in the baseline's brain. No validation or test patient gives a baseline, a mask or a scalar.
    held_out    follow-ups of patients that the generator never saw, from their own baseline and change mask, to be
                compared with their real follow-ups

A plan's columns are those of msdiff.cohort.samples, with the two numbers that drawing needs to place the same mask:
`scalars` (scan or slice: what the scalars describe) and `white_matter_margin_mm`.
"""

import logging
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from scipy import ndimage

from msdiff.cohort.stacks import Stack
from msdiff.errors import BadInput
from msdiff.settings import Settings
from msdiff.synthesis.conditions import Unit, optional, scalars_of, training_slices

log = logging.getLogger(__name__)

# FreeSurfer's labels of the white matter of cerebrum and cerebellum, left and right, and of the brainstem.
WHITE_MATTER = (2, 41, 7, 46, 16)
EIGHT_CONNECTED = np.ones((3, 3))

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
    "white_matter_margin_mm",
]


class MassSettings(Settings):
    """Follow-ups for training detectors.

    count                       of samples
    slice_window                how far, in slices, the baseline's slice may lie from the donor's
    minimum_surviving_fraction  of the donor's mask that must be left after placing; other donors are tried else
    tries                       of a donor and a baseline for one sample, before giving up
    """

    count: PositiveInt
    slice_window: NonNegativeInt
    minimum_surviving_fraction: Annotated[float, Field(gt=0, le=1)]
    tries: PositiveInt


class HeldOutSettings(Settings):
    """Follow-ups to be scored: up to so many changed slices of each pair of scans of a split."""

    split: Literal["validation", "test"]
    slices_per_pair: PositiveInt


class PlanSettings(Settings):
    """Section `synthesis.plan`; `scalars` is that of the generator."""

    seed: NonNegativeInt
    scalars: Unit
    white_matter_margin_mm: NonNegativeFloat
    mass: MassSettings
    held_out: HeldOutSettings


class Placer:
    """Places donors' change masks in baselines; the same for who plans and who draws."""

    def __init__(self, stack: Stack) -> None:
        self.spacing_mm = stack.grid.spacing_mm[:2][::-1]
        self.changes = stack.array("change_mask")
        self.brains = stack.array("brain_mask")
        self.regions = stack.array("regions")
        self.lesions = optional(stack, "lesion_mask")
        self.allowed = lru_cache(maxsize=4096)(self._allowed)

    def place(
        self, baseline_row: int, number: int, mask_row: int, mask_slice: int, margin_mm: float
    ) -> NDArray[np.bool_]:
        """The donor's mask (y, x) where it may lie in the baseline's slice `number`."""
        return np.asarray((self.changes[mask_row, mask_slice] > 0) & self.allowed(baseline_row, number, margin_mm))

    def _allowed(self, row: int, number: int, margin_mm: float) -> NDArray[np.bool_]:
        """Where a new lesion may lie: brain, within a margin of white matter in the slice, no lesion yet; (y, x)."""
        white_matter = np.isin(self.regions[row, number], WHITE_MATTER)
        if not white_matter.any():
            return np.zeros_like(white_matter)
        near = ndimage.distance_transform_edt(~white_matter, sampling=self.spacing_mm) <= margin_mm
        allowed = near & (self.brains[row, number] > 0)
        return np.asarray(allowed if self.lesions is None else allowed & ~(self.lesions[row, number] > 0))


def plan_samples(stack: Stack, purpose: str, settings: PlanSettings) -> pd.DataFrame:
    """The plan of a purpose, one row per sample; see the head of this module.

    Raises BadInput where no scan qualifies.
    """
    rows = {"mass": _mass, "held_out": _held_out}[purpose](stack, settings)
    frame = pd.DataFrame(rows)
    frame["sample"] = np.arange(len(frame))
    frame["seed"] = [_seed(settings.seed, purpose, sample) for sample in frame["sample"]]
    frame["change_flag"] = (frame["change_count"] > 0).astype(int)
    frame["scalars"] = settings.scalars
    frame["white_matter_margin_mm"] = settings.white_matter_margin_mm
    log.info("%s: %d samples of %d patients", purpose, len(frame), frame["baseline_subject"].nunique())
    return frame[COLUMNS]


def _mass(stack: Stack, settings: PlanSettings) -> list[dict[str, object]]:
    slices = training_slices(stack)
    if slices["subject"].nunique() < 2:
        raise BadInput(
            f"{stack.folder}: expected two training patients or more, a mask comes from another than the baseline; got "
            f"{slices['subject'].iloc[0]} alone"
        )
    donors = slices[slices["change_voxels"] > 0]
    baselines = slices.drop_duplicates(["baseline_row", "slice"])
    near = {
        key: baselines[
            (baselines["subject"] != key[0]) & ((baselines["slice"] - key[1]).abs() <= settings.mass.slice_window)
        ].index.to_numpy()
        for key in set(zip(donors["subject"], donors["slice"], strict=True))
    }
    placer = Placer(stack)
    rows = []
    for sample in range(settings.mass.count):
        rng = np.random.default_rng([settings.seed, PURPOSES.index("mass"), sample])
        for _ in range(settings.mass.tries):
            donor = donors.iloc[rng.integers(len(donors))]
            candidates = near[donor["subject"], donor["slice"]]
            if len(candidates) == 0:
                continue
            baseline = baselines.loc[candidates[rng.integers(len(candidates))]]
            mask = placer.place(
                int(baseline["baseline_row"]),
                int(baseline["slice"]),
                int(donor["follow_up_row"]),
                int(donor["slice"]),
                settings.white_matter_margin_mm,
            )
            if mask.sum() >= settings.mass.minimum_surviving_fraction * donor["change_voxels"]:
                rows.append(_row(baseline, donor, -1) | _scalars(stack, donor, mask, settings.scalars))
                break
        else:
            raise BadInput(
                f"{stack.folder}: sample {sample}: expected a donor's mask to fit a baseline, none of "
                f"{settings.mass.tries} tries did; lower plan.mass.minimum_surviving_fraction or raise slice_window"
            )
    return rows


def _held_out(stack: Stack, settings: PlanSettings) -> list[dict[str, object]]:
    chosen = settings.held_out
    slices = stack.slices[(stack.slices["split"] == chosen.split) & (stack.slices["change_voxels"] > 0)]
    if slices.empty:
        raise BadInput(
            f"{stack.folder}: expected a slice with a change in split {chosen.split}, got none; correct the splits or "
            "give lesion or change masks in the scan sheet"
        )
    rows = []
    for pair, group in slices.groupby("pair"):
        rng = np.random.default_rng([settings.seed, PURPOSES.index("held_out"), int(pair)])
        kept = np.sort(rng.permutation(len(group))[: chosen.slices_per_pair])
        for _, row in group.iloc[kept].iterrows():
            volume, number, _ = scalars_of(row.to_frame().T, settings.scalars)[0]
            rows.append(_row(row, row, int(row["follow_up_row"])) | {"change_mm3": volume, "change_count": int(number)})
    return rows


def _row(baseline: pd.Series, donor: pd.Series, follow_up_row: int) -> dict[str, object]:
    return {
        "baseline_subject": baseline["subject"],
        "baseline_row": int(baseline["baseline_row"]),
        "slice": int(baseline["slice"]),
        "mask_subject": donor["subject"],
        "mask_row": int(donor["follow_up_row"]),
        "mask_slice": int(donor["slice"]),
        "follow_up_row": follow_up_row,
    }


def _scalars(stack: Stack, donor: pd.Series, mask: NDArray[np.bool_], unit: Unit) -> dict[str, object]:
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
