"""Time the lesion matcher against the obvious loop over components with scipy, in one run, and print the ratio.

    python benchmarks/lesion_matching.py [--side 256] [--slices 128] [--lesions 60] [--predictions 120] [--repeats 3]

Both label two masks with 26-connectivity and count Correct, false positives and false negatives by the rule `overlap`.
The loop is what one writes first: scipy.ndimage.label, and for each prediction a mask of the whole volume.
"""

import argparse
import time

import numpy as np
from scipy import ndimage

from msdiff.metrics.lesion import LesionCounts, components, match_lesions

MIN_OVERLAP = 0.6


def simulate_mask(rng: np.random.Generator, shape: tuple[int, int, int], count: int) -> np.ndarray:
    """Blobs of a few voxels (Z, Y, X) at random places."""
    mask = np.zeros(shape, dtype=bool)
    for place in rng.integers(4, np.array(shape) - 4, (count, 3)):
        z, y, x = np.indices((9, 9, 9)) - 4
        blob = z**2 + y**2 + x**2 <= rng.uniform(1, 12)
        mask[tuple(slice(centre - 4, centre + 5) for centre in place)] |= blob
    return mask


def by_table(true: np.ndarray, predicted: np.ndarray) -> LesionCounts:
    """Our way: one table of shared voxels."""
    lesions, predictions = (components(mask, 26, 0.0, 1.0) for mask in (true, predicted))
    return match_lesions(lesions, predictions, "overlap", MIN_OVERLAP).counts


def by_loop(true: np.ndarray, predicted: np.ndarray) -> LesionCounts:
    """The obvious way: each prediction against each true lesion that it touches."""
    (true_labels, n_true), (labels, n_predicted) = (
        ndimage.label(mask, np.ones((3, 3, 3))) for mask in (true, predicted)
    )
    found, finding = set(), 0
    for number in range(1, n_predicted + 1):
        component = labels == number
        finds = [
            lesion
            for lesion in np.unique(true_labels[component])
            if lesion and (true_labels[component] == lesion).sum() / component.sum() >= MIN_OVERLAP
        ]
        found.update(finds)
        finding += bool(finds)
    return LesionCounts(len(found), n_predicted - finding, n_true - len(found))


def main() -> None:
    """Compare the two on one pair of masks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("side", 256), ("slices", 128), ("lesions", 60), ("predictions", 120), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = (arguments.slices, arguments.side, arguments.side)
    true = simulate_mask(rng, shape, arguments.lesions)
    # Half of the true lesions are found, a voxel aside; the rest of the predictions lie anywhere.
    labels, n = ndimage.label(true, np.ones((3, 3, 3)))
    predicted = np.roll(np.isin(labels, np.arange(1, n // 2)), 1, axis=2) | simulate_mask(
        rng, shape, arguments.predictions
    )
    seconds = {}
    for name, function in (("msdiff", by_table), ("loop", by_loop)):
        best = np.inf
        for _ in range(arguments.repeats):
            began = time.perf_counter()
            counts = function(true, predicted)
            best = min(best, time.perf_counter() - began)
        seconds[name] = best
        print(f"{name:8} {best:8.3f} s  {counts}")
        if name == "msdiff":
            expected = counts
    if counts != expected:
        raise SystemExit("the two ways do not agree")
    print(f"ratio    {seconds['loop'] / seconds['msdiff']:8.1f}")


if __name__ == "__main__":
    main()
