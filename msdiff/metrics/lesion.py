"""Agreement of two masks lesion by lesion.

A lesion is a connected component of at least a minimum volume; `components` says which. Two components are compared
by a table of shared voxels, counted once, and so no answer depends on the order in which lesions are looked at. The
published script of the protocol relabels predictions one lesion after another and can lose a false positive that
happens to carry the number it assigns; `Matching` cannot. The rules of the MSSEG challenges, which say of each lesion
whether it is detected and not by which prediction, are in msdiff.metrics.msseg2.

MATCHERS, by name:

overlap          A prediction p finds a true lesion g where |p and g| / |p| >= `min_overlap` over the whole of p: the
                 protocol's rule, evaluated on the whole component. With min_overlap above 0.5, p finds one lesion at
                 most, so a prediction that spills over, or that welds two lesions, finds neither.
kelly2024_bbox   The protocol's rule as its script evaluates it: only the part of p inside the bounding box of g counts,
                 |p and any true lesion, in the box| / |p in the box| >= `min_overlap`, and p must touch g. Spill-over
                 beyond the box costs nothing.

Counts: Correct is the number of true lesions that some prediction finds (several predictions of one lesion count
once), false negatives are the true lesions that none finds, false positives the predictions that find none. So
Correct + false negatives = number of true lesions, always.

Empty masks: no true lesion leaves Correct = false negatives = 0 and every prediction false positive; no prediction
leaves every true lesion a false negative. Ratios return the value of `empty` where their denominator is zero.

Reference: Kelly et al. (2024), medRxiv 2024.04.05.24305386, and the group's published scoring script.
"""

from collections.abc import Callable
from typing import NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

CONNECTIVITIES = {2: (4, 8), 3: (6, 18, 26)}


class Components(NamedTuple):
    """Lesions of a mask: labels int32 (Z, Y, X) or (Y, X), 0 outside and 1 to n inside; voxels (n,)."""

    labels: NDArray[np.int32]
    voxels: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Number of lesions."""
        return len(self.voxels)


class Matching(NamedTuple):
    """Which prediction finds which true lesion, and the voxels they share: both (true lesion, prediction)."""

    matches: NDArray[np.bool_]
    shared: NDArray[np.int64]

    @property
    def true_found(self) -> NDArray[np.bool_]:
        """Bool (true lesion,): some prediction finds it."""
        return np.asarray(self.matches.any(axis=1))

    @property
    def predicted_finds(self) -> NDArray[np.bool_]:
        """Bool (prediction,): it finds some true lesion."""
        return np.asarray(self.matches.any(axis=0))

    @property
    def counts(self) -> "LesionCounts":
        """Correct, false positives and false negatives."""
        correct, finding = int(self.true_found.sum()), int(self.predicted_finds.sum())
        return LesionCounts(correct, self.matches.shape[1] - finding, self.matches.shape[0] - correct)


class LesionCounts(NamedTuple):
    """Numbers of lesions: found, predicted without a true one, true and not found."""

    correct: int
    false_positives: int
    false_negatives: int


class LesionRow(NamedTuple):
    """One row of a table of lesions: kind is true or predicted, label counts from 1, volume in mm3."""

    kind: str
    label: int
    volume_mm3: float
    matched: bool


def components(
    mask: NDArray[np.bool_], connectivity: int, min_volume_mm3: float, voxel_volume_mm3: float
) -> Components:
    """Label the connected components of at least `min_volume_mm3` (a component of just that volume stays).

    `connectivity` is 6, 18 or 26 in a volume (Z, Y, X), 4 or 8 in a slice (Y, X). Labels count from 1 in the order
    of the first voxel. An empty mask has no components.
    """
    if connectivity not in CONNECTIVITIES.get(mask.ndim, ()):
        raise ValueError(
            f"expected connectivity 4 or 8 in 2-D, 6, 18 or 26 in 3-D; got {connectivity} in {mask.ndim}-D"
        )
    labels = cc3d.connected_components(  # type: ignore[call-overload]
        np.ascontiguousarray(mask, dtype=np.uint8), connectivity=connectivity, out_dtype=np.uint32
    )
    voxels = np.bincount(labels.ravel())[1:]
    # A volume is compared in whole voxels, so that rounding of the voxel's volume decides nothing.
    keep = voxels >= np.ceil(min_volume_mm3 / voxel_volume_mm3 - 1e-6)
    renumbered = np.zeros(len(voxels) + 1, dtype=np.int32)
    renumbered[1:][keep] = np.arange(1, keep.sum() + 1)
    return Components(renumbered[labels], voxels[keep])


def match_lesions(true: Components, predicted: Components, matcher: str, min_overlap: float) -> Matching:
    """Compare the lesions of two masks on one grid by the matcher of that name (see the module's docstring)."""
    if true.labels.shape != predicted.labels.shape:
        raise ValueError(f"expected masks of one shape, got {true.labels.shape} and {predicted.labels.shape}")
    shared = shared_voxels(true, predicted)
    return Matching(MATCHERS[matcher](true, predicted, shared, min_overlap), shared)


def shared_voxels(true: Components, predicted: Components) -> NDArray[np.int64]:
    """Numbers of voxels (true lesion, prediction) that two components share."""
    both = (true.labels > 0) & (predicted.labels > 0)
    pairs = (true.labels[both].astype(np.int64) - 1) * predicted.n + predicted.labels[both] - 1
    table = np.bincount(pairs, minlength=true.n * predicted.n)
    return table.reshape(true.n, predicted.n).astype(np.int64)


def lesion_rows(
    true: Components, predicted: Components, matching: Matching, voxel_volume_mm3: float
) -> list[LesionRow]:
    """One row per true lesion, then one per prediction; `matched` is found or finding."""
    sides = (("true", true, matching.true_found), ("predicted", predicted, matching.predicted_finds))
    return [
        LesionRow(kind, label, float(voxels * voxel_volume_mm3), bool(matched))
        for kind, lesions, found in sides
        for label, (voxels, matched) in enumerate(zip(lesions.voxels, found, strict=True), start=1)
    ]


def lesion_precision(counts: LesionCounts, empty: float) -> float:
    """Correct / (Correct + false positives), in [0, 1]; `empty` where nothing is predicted."""
    predicted = counts.correct + counts.false_positives
    return counts.correct / predicted if predicted else empty


def lesion_recall(counts: LesionCounts, empty: float) -> float:
    """Correct / (Correct + false negatives), in [0, 1]; `empty` where there is no true lesion."""
    true = counts.correct + counts.false_negatives
    return counts.correct / true if true else empty


def lesion_f(counts: LesionCounts, beta: float, empty: float) -> float:
    """F score: (1 + b^2) Correct / ((1 + b^2) Correct + b^2 FN + FP); `empty` where there is nothing on either side.

    beta = 1 weighs precision and recall alike, beta = 2 recall more (van Rijsbergen 1979).
    """
    weight = beta**2
    found = (1 + weight) * counts.correct
    whole = found + weight * counts.false_negatives + counts.false_positives
    return found / whole if whole else empty


def _overlap(
    true: Components, predicted: Components, shared: NDArray[np.int64], min_overlap: float
) -> NDArray[np.bool_]:
    return np.asarray((shared > 0) & (shared / predicted.voxels >= min_overlap))


def _kelly2024_bbox(
    true: Components, predicted: Components, shared: NDArray[np.int64], min_overlap: float
) -> NDArray[np.bool_]:
    matches = np.zeros((true.n, predicted.n), dtype=bool)
    for lesion, box in enumerate(find_objects(true.labels)):
        true_box, predicted_box = true.labels[box], predicted.labels[box]
        in_box = np.bincount(predicted_box.ravel(), minlength=predicted.n + 1)[1:]
        on_any = np.bincount(predicted_box[true_box > 0], minlength=predicted.n + 1)[1:]
        matches[lesion] = (shared[lesion] > 0) & (on_any / np.maximum(in_box, 1) >= min_overlap)
    return matches


MATCHERS: dict[str, Callable[[Components, Components, NDArray[np.int64], float], NDArray[np.bool_]]] = {
    "overlap": _overlap,
    "kelly2024_bbox": _kelly2024_bbox,
}
