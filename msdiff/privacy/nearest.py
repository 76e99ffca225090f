"""The most similar training follow-up of another patient: for synthetic follow-ups, and for real ones held out.

Two measures of the same averaged slices: the correlation of their pixels in the brain that they share
(msdiff.privacy.slices), and the cosine of a learned embedding (msdiff.privacy.embedding). All training follow-ups with
brain are searched, at every level: scans lie on one grid, so the nearest is nearly always at the same level, but
nothing has to be assumed, and as products of whole blocks 15,000 slices against 14,080 take minutes.

A generator that starts from a baseline copies it by design. Its patient's own scans are therefore left out of the
search, and listed beside it:

    baseline_similarity     to its own baseline
    follow_up_similarity    to the real follow-up of that baseline
    real_similarity         of that baseline to that follow-up: two real scans of the patient
    baseline_nearest        of that baseline to its own nearest training follow-up of another patient: what the start
                            alone explains of `similarity`
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdiff.errors import BadInput
from msdiff.privacy.embedding import Embedding
from msdiff.privacy.slices import (
    AveragedSlices,
    Vectors,
    correlations,
    paired_correlations,
    real_slices,
    synthetic_slices,
)
from msdiff.privacy.thresholds import NEAREST_COLUMNS, NearestSettings, flag
from msdiff.sampling.shards import load_slices
from msdiff.stack.reading import Stack

log = logging.getLogger(__name__)

# Queries compared with all references at a time: 58 MB a matrix for 14,080 references. No result depends on it.
QUERIES = 1024

# Of a part of the queries to all references: (query, reference).
Similarities = Callable[[slice], Tensor]


class Nearest(NamedTuple):
    """Of each query the highest product (query,) and the place (query,) of the reference that it is with."""

    similarity: Vectors
    place: NDArray[np.int64]


def find_nearest(
    stack: Stack, shards: Sequence[str | Path], embedding: Embedding, settings: NearestSettings
) -> pd.DataFrame:
    """One row (NEAREST_COLUMNS) per measure and slice: the synthetic ones first, then those of held-out patients.

    `sample` is -1 for a real slice, `follow_up_row` -1 for a synthetic one. Raises BadInput where there are no samples,
    no two training patients, or no held-out follow-ups at the samples' levels.
    """
    training = _brainy(stack.slices[stack.slices["split"] == "train"])
    held_out = _brainy(stack.slices[stack.slices["split"].isin(settings.reference)])
    mapped = [load_slices(folder, stack) for folder in shards]
    samples = pd.concat([shard.manifest for shard in mapped], ignore_index=True)
    if samples.empty or held_out.empty:
        raise BadInput(
            f"{stack.folder}: expected samples, and follow-ups of split {' or '.join(settings.reference)} to compare "
            f"them with, got {len(samples)} and {len(held_out)}; make samples, or correct the splits"
        )
    own = _own_follow_ups(stack, samples)
    chosen = embedding.slices
    slices = {
        "training": real_slices(stack, training, "follow_up_row", chosen),
        "held_out": real_slices(stack, held_out, "follow_up_row", chosen),
        "held_out_baseline": real_slices(stack, held_out, "baseline_row", chosen),
        "samples": synthetic_slices(stack, mapped, chosen),
        "baseline": real_slices(stack, samples, "baseline_row", chosen),
        "follow_up": real_slices(stack, own, "follow_up_row", chosen),
    }
    frames = [
        frame
        for measure in (_Pixels(slices, chosen.minimum_overlap), _Embedded(slices, embedding))
        for frame in _compared(measure, samples, held_out, own["missing"], training)
    ]
    rows = flag(pd.concat(frames, ignore_index=True), settings.percentile)
    for measure, group in rows[rows["kind"] == "synthetic"].groupby("measure", sort=False):
        log.info(
            "%s: %d of %d samples above %.4f, the nearest of %d training follow-ups at %.4f (median)",
            *(measure, group["flagged"].sum(), len(group), group["threshold"].iloc[0]),
            *(len(training), group["similarity"].median()),
        )
    return rows[NEAREST_COLUMNS]


def _compared(
    measure: "_Pixels | _Embedded",
    samples: pd.DataFrame,
    held_out: pd.DataFrame,
    missing: pd.Series,
    training: pd.DataFrame,
) -> Iterator[pd.DataFrame]:
    """By one measure: the rows of the samples, then those of the held-out follow-ups, each with its nearest."""
    synthetic = pd.DataFrame(
        {
            "kind": "synthetic",
            "subject": samples["baseline_subject"],
            "sample": samples["sample"],
            "follow_up_row": -1,
            "slice": samples["slice"],
            "baseline_similarity": measure.pairs("samples", "baseline"),
            "follow_up_similarity": measure.pairs("samples", "follow_up"),
            "real_similarity": measure.pairs("baseline", "follow_up"),
        }
    )
    baselines = nearest(measure.to_training("baseline"), synthetic["subject"], training["subject"])
    synthetic["baseline_nearest"] = baselines.similarity
    # A baseline without a follow-up at its place has none to be like.
    synthetic.loc[missing, ["follow_up_similarity", "real_similarity"]] = np.nan
    real = pd.DataFrame(
        {
            "kind": "held_out",
            "subject": held_out["subject"],
            "sample": -1,
            "follow_up_row": held_out["follow_up_row"],
            "slice": held_out["slice"],
            "real_similarity": measure.pairs("held_out", "held_out_baseline"),
        }
    )
    for rows, name in ((synthetic, "samples"), (real, "held_out")):
        similarity, place = nearest(measure.to_training(name), rows["subject"], training["subject"])
        found = training.iloc[place]
        yield rows.assign(
            measure=measure.name,
            similarity=similarity,
            nearest_subject=found["subject"].to_numpy(),
            nearest_row=found["follow_up_row"].to_numpy(),
            nearest_slice=found["slice"].to_numpy(),
            n_training=len(training),
        )


def nearest(similarities: Similarities, patients: pd.Series, reference_patients: pd.Series) -> Nearest:
    """The references of other patients that are most similar to the queries.

    Parameters
    ----------
    similarities
        Of a part of the queries to all references (query, reference).
    patients, reference_patients
        Of each query and each reference.

    Raises BadInput where a query has no reference of another patient.
    """
    codes, _ = pd.factorize(pd.concat([patients, reference_patients], ignore_index=True))
    own, others = (torch.from_numpy(part) for part in np.split(codes.astype(np.int64), [len(patients)]))
    highest = [torch.zeros(0)]
    places = [torch.zeros(0, dtype=torch.int64)]
    for start in range(0, len(patients), QUERIES):
        part = slice(start, start + QUERIES)
        best = similarities(part).masked_fill(own[part, None] == others, -torch.inf).max(dim=1)
        highest.append(best.values)
        places.append(best.indices)
    similarity = torch.cat(highest).numpy()
    if not np.isfinite(similarity).all():
        lonely = patients.iloc[int(np.argmin(similarity))]
        raise BadInput(f"expected a training follow-up of another patient than {lonely}, got none; correct the splits")
    return Nearest(similarity, torch.cat(places).numpy())


class _Pixels:
    """Correlation of pixels, of those alone that lie in some training follow-up's brain."""

    name = "pixel_correlation"

    def __init__(self, slices: Mapping[str, AveragedSlices], minimum_overlap: float) -> None:
        used = slices["training"].inside.any(axis=0)
        self.slices = {name: each.at(slice(None), used) for name, each in slices.items()}
        self.minimum_overlap = minimum_overlap

    def pairs(self, one: str, other: str) -> Vectors:
        """Of each slice to that at its place."""
        return paired_correlations(self.slices[one], self.slices[other], self.minimum_overlap)

    def to_training(self, name: str) -> Similarities:
        """Of a part of the slices to all training follow-ups."""
        return lambda part: correlations(self.slices[name].at(part), self.slices["training"], self.minimum_overlap)


class _Embedded:
    """Cosine of embedded slices."""

    name = "embedding"

    def __init__(self, slices: Mapping[str, AveragedSlices], embedding: Embedding) -> None:
        self.vectors = {name: torch.from_numpy(embedding(each)) for name, each in slices.items()}

    def pairs(self, one: str, other: str) -> Vectors:
        """Of each slice to that at its place."""
        return (self.vectors[one] * self.vectors[other]).sum(1).numpy()

    def to_training(self, name: str) -> Similarities:
        """Of a part of the slices to all training follow-ups."""
        return lambda part: self.vectors[name][part] @ self.vectors["training"].T


def _brainy(slices: pd.DataFrame) -> pd.DataFrame:
    """Slices with brain, each once, however many pairs its follow-up is in."""
    return slices[slices["brain_voxels"] > 0].drop_duplicates(["follow_up_row", "slice"]).reset_index(drop=True)


def _own_follow_ups(stack: Stack, samples: pd.DataFrame) -> pd.DataFrame:
    """The first real follow-up of each sample's baseline: follow_up_row, slice, and `missing` where there is none."""
    places = ["baseline_row", "slice"]
    pairs = stack.slices.drop_duplicates(places)[[*places, "follow_up_row"]]
    found = samples[places].merge(pairs, on=places, how="left")
    missing = found["follow_up_row"].isna()
    return found.assign(follow_up_row=found["follow_up_row"].fillna(0).astype(int), missing=missing)
