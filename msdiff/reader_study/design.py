"""Which slices a reader sees, as what, and in which order.

Every case is a changed slice of a held-out patient: the baseline, the change mask, and either the real follow-up or the
one that a generator sampled from the same baseline and mask. Patients take turns, so that each has about as many cases,
and within a patient about the asked share is synthetic: real and synthetic are compared within patients. A reader sees
a slice as one of them only, and slices of a patient keep apart, so that no lesion is met twice; unless both are asked
for. A few cases come again much later, for the reader's own consistency.
"""

import logging
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from msdiff.errors import BadInput
from msdiff.reader_study.pictures import Convention
from msdiff.settings import Settings

log = logging.getLogger(__name__)

REAL, SYNTHETIC = KINDS = ("real", "synthetic")
SLICE = ["subject", "baseline_row", "follow_up_row", "slice"]
# Of random orders, the one with the fewest neighbours of one patient is taken.
ORDERS = 100


class StudyExportSettings(Settings):
    """Section `reader_study.export`.

    seed                of the choice, the kinds and the order
    contrast            array of the stack that the generators sample
    cases               shown without repeats, at most
    synthetic_share     of the cases; without meaning where both of a slice are shown
    both_of_a_slice     a reader sees a slice as real and as every generator's, half of all slices apart
    minimum_change_mm2  area of the change mask in a slice; smaller ones leave a reader nothing to judge
    slices_apart_mm     between two chosen slices of a patient, at least
    repeats             cases that come a second time, at most
    repeat_gap          how many cases later a case comes again, at least
    convention          radiological: the patient's right is on the left; neurological: on the right
    window              lowest and highest intensity of the first view, of [-1, 1]
    """

    seed: NonNegativeInt
    contrast: str
    cases: PositiveInt
    synthetic_share: Annotated[float, Field(ge=0, le=1)]
    both_of_a_slice: bool
    minimum_change_mm2: NonNegativeFloat
    slices_apart_mm: NonNegativeFloat
    repeats: NonNegativeInt
    repeat_gap: PositiveInt
    convention: Convention
    window: tuple[Annotated[float, Field(ge=-1, le=1)], Annotated[float, Field(ge=-1, le=1)]]


def plan_cases(samples: pd.DataFrame, slice_distance_mm: float, settings: StudyExportSettings) -> pd.DataFrame:
    """The cases in the order shown: `case` (from 1), `kind`, `generator`, SLICE, `repeat_of` (a case, 0 for none).

    `samples` has one row per sample: generator, SLICE and change_mm2. The generator of a real case is empty.
    Raises BadInput where no slice is left to show.
    """
    generators = sorted(samples["generator"].unique())
    slices = _slices(samples, len(generators), settings)
    rng = np.random.default_rng([settings.seed])
    showings = len(generators) + 1 if settings.both_of_a_slice else 1
    chosen = _chosen(slices, max(1, settings.cases // showings), slice_distance_mm, settings.slices_apart_mm, rng)
    blocks = _both(chosen, generators, rng) if settings.both_of_a_slice else [_split(chosen, generators, settings, rng)]
    ordered = _ordered(blocks, rng)
    repeated = _with_repeats(len(ordered), settings, rng)
    cases = ordered.iloc[repeated].reset_index(drop=True)
    cases.insert(0, "case", np.arange(1, len(cases) + 1))
    first = cases.groupby(repeated)["case"].transform("min")
    cases["repeat_of"] = np.where(cases["case"] > first, first, 0)
    log.info(
        "%d cases of %d patients: %d real, %d synthetic, %d shown again",
        len(cases), cases["subject"].nunique(), *(int((ordered["kind"] == kind).sum()) for kind in KINDS),
        len(cases) - len(ordered),
    )  # fmt: skip
    return cases


def _slices(samples: pd.DataFrame, n_generators: int, settings: StudyExportSettings) -> pd.DataFrame:
    """The slices that every generator sampled and that show enough change, one row each (SLICE)."""
    large = samples[samples["change_mm2"] >= settings.minimum_change_mm2]
    sampled_by = large.groupby(SLICE)["generator"].nunique().rename("sampled_by").reset_index()
    slices = sampled_by.loc[sampled_by["sampled_by"] == n_generators, SLICE].reset_index(drop=True)
    if slices.empty:
        raise BadInput(
            f"shards: expected a held-out slice with {settings.minimum_change_mm2:g} mm2 of change or more that every "
            "generator sampled, got none; lower reader_study.export.minimum_change_mm2"
        )
    return slices


def _chosen(
    slices: pd.DataFrame, count: int, distance_mm: float, apart_mm: float, rng: np.random.Generator
) -> pd.DataFrame:
    """`count` slices at most, patient by patient; patients take turns until there are enough."""
    subjects = rng.permutation(sorted(slices["subject"].unique()))
    turns = []
    for place, subject in enumerate(subjects):
        kept: list[int] = []
        own = slices[slices["subject"] == subject]
        for index in rng.permutation(own.index.to_numpy()):
            numbers = own.loc[kept, "slice"].to_numpy()
            if not (np.abs(numbers - own.loc[index, "slice"]) * distance_mm < max(apart_mm, 1e-6)).any():
                kept.append(index)
        turns += [(turn, place, index) for turn, index in enumerate(kept)]
    taken = sorted(turns)[:count]
    if len(taken) < count:
        log.warning("expected %d slices to show, got %d that lie far enough apart", count, len(taken))
    return slices.loc[[index for _, _, index in sorted(taken, key=lambda entry: entry[1])]].reset_index(drop=True)


def _split(
    chosen: pd.DataFrame, generators: Sequence[str], settings: StudyExportSettings, rng: np.random.Generator
) -> pd.DataFrame:
    """Each slice once, real or one generator's; the share holds within a patient as nearly as over all."""
    steps = np.floor(settings.synthetic_share * np.arange(len(chosen) + 1) + 1e-9)
    synthetic = np.diff(steps) > 0
    turns = np.cumsum(synthetic) + rng.integers(len(generators))
    names = [generators[turn % len(generators)] if own else "" for turn, own in zip(turns, synthetic, strict=True)]
    return _cases(chosen, names)


def _both(chosen: pd.DataFrame, generators: Sequence[str], rng: np.random.Generator) -> list[pd.DataFrame]:
    """Every slice as real and as each generator's, one of them in each block."""
    names = np.array(["", *generators], dtype=object)
    orders = np.array([rng.permutation(len(names)) for _ in range(len(chosen))])
    return [_cases(chosen, list(names[orders[:, block]])) for block in range(len(names))]


def _cases(chosen: pd.DataFrame, generators: list[str]) -> pd.DataFrame:
    frame = chosen.assign(generator=generators, kind=np.where(np.array(generators) == "", REAL, SYNTHETIC))
    return frame[["kind", "generator", *SLICE]]


def _ordered(blocks: list[pd.DataFrame], rng: np.random.Generator) -> pd.DataFrame:
    """The blocks one after another, each shuffled; a slice keeps its half, and so half a block's distance."""
    subjects = blocks[0]["subject"].to_numpy()
    order = _shuffled(subjects, np.arange(len(subjects)), rng)
    ordered = []
    for block in blocks:
        ordered.append(block.iloc[order])
        half = len(order) // 2
        order = np.concatenate([_shuffled(subjects, part, rng) for part in (order[:half], order[half:])])
    return pd.concat(ordered, ignore_index=True)


def _shuffled(subjects: NDArray[np.object_], places: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A random order of places with few neighbours of the same patient."""
    orders = [rng.permutation(places) for _ in range(ORDERS)]
    return min(orders, key=lambda order: int((subjects[order][1:] == subjects[order][:-1]).sum()))


def _with_repeats(cases: int, settings: StudyExportSettings, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of the cases in the order shown, those that come again twice."""
    room = max(0, cases - settings.repeat_gap)
    count = min(settings.repeats, room)
    if count < settings.repeats:
        log.warning("expected %d cases to show again, got room for %d", settings.repeats, count)
    again = rng.choice(room, size=count, replace=False) if count else np.empty(0, dtype=np.int64)
    # A case comes before the repeats that fall on its place.
    keys = np.concatenate([np.arange(cases, dtype=np.float64), rng.uniform(again + settings.repeat_gap, cases)])
    return np.concatenate([np.arange(cases), again])[np.argsort(keys, kind="stable")]
