"""Time of our search for the nearest training follow-up over the obvious ones: scikit-learn's, and a loop.

    python benchmarks/privacy.py [--samples 1500] [--patients 22] [--repeats 3] [--full]

All find, for the same random slices, the most similar one of another patient, on the CPU, by turns in one run, so that
the ratios do not depend on what else the machine does. A slice has 64 x 64 pixels, a third of them brain, the same in
all slices. Ours and the loop would take outlines of each pair's own; scikit-learn's NearestNeighbors cannot, and does a
sixth of the work. It knows nothing of patients either: it is asked for as many neighbours as a patient has slices and
one more. The loop calls numpy's corrcoef for each sample and each slice of another patient, on a hundredth of the
samples. Prints the median time of each, the ratios (below 1: ours is faster), whether the findings agree, and the time
that 15,000 samples and 14,080 slices would take; `--full` measures that one.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from msdiff.privacy.nearest import nearest
from msdiff.privacy.slices import AveragedSlices, correlations

PIXELS = 64 * 64 // 3
SLICES_PER_PATIENT = 128  # with brain, as in the paper-scale cohort: 110 patients give 14,080
LOOP_SHARE = 100
PAPER = (15_000, 14_080)

Places = NDArray[np.int64]


def main() -> None:
    """Time all three and print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=1500)
    parser.add_argument("--patients", type=int, default=22)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="measure the paper-scale search too, some 500 MB")
    arguments = parser.parse_args()
    queries, own, references, others = slices(arguments.samples, arguments.patients)
    part = slice(0, len(queries) // LOOP_SHARE)
    searches: dict[str, tuple[float, Callable[[], Places]]] = {
        "ours": (1, lambda: ours(queries, references, own, others)),
        "scikit-learn": (1, lambda: of_neighbours(queries, references, own.to_numpy(), others.to_numpy())),
        "loop": (LOOP_SHARE, lambda: by_loop(queries[part], references, own.to_numpy()[part], others.to_numpy())),
    }
    times: dict[str, list[float]] = {name: [] for name in searches}
    found: dict[str, Places] = {}
    for _ in range(arguments.repeats):
        for name, (scale, search) in searches.items():
            start = time.perf_counter()
            found[name] = search()
            times[name].append((time.perf_counter() - start) * scale)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    print(f"{len(queries)} samples, {len(references)} slices of {PIXELS} pixels, {torch.get_num_threads()} threads")
    for name, value in seconds.items():
        share = np.mean(found[name] == found["ours"][: len(found[name])])
        print(f"{name:13s} {value:8.2f} s   ratio {seconds['ours'] / value:6.3f}   agrees in {100 * share:.1f} %")
    pairs = PAPER[0] * PAPER[1] / (len(queries) * len(references))
    projected = ", ".join(f"{name} {value * pairs:.0f} s" for name, value in seconds.items())
    print(f"{PAPER[0]} x {PAPER[1]}, projected: {projected}")
    if arguments.full:
        queries, own, references, others = slices(PAPER[0], PAPER[1] // SLICES_PER_PATIENT)
        start = time.perf_counter()
        ours(queries, references, own, others)
        print(f"{PAPER[0]} x {PAPER[1]}, measured: ours {time.perf_counter() - start:.0f} s")


def slices(samples: int, patients: int) -> tuple[NDArray[np.float32], pd.Series, NDArray[np.float32], pd.Series]:
    """Random slices of length one and mean zero with their patients: samples, then training slices."""
    rng = np.random.default_rng(0)

    def normal(n: int) -> NDArray[np.float32]:
        vectors = rng.standard_normal((n, PIXELS), dtype=np.float32)
        vectors -= vectors.mean(axis=1, keepdims=True)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    own = pd.Series(rng.integers(0, patients, samples))
    others = pd.Series(np.repeat(np.arange(patients), SLICES_PER_PATIENT))
    return normal(samples), own, normal(len(others)), others


def ours(queries: NDArray[np.float32], references: NDArray[np.float32], own: pd.Series, others: pd.Series) -> Places:
    """The correlation in the brain that two slices share, in blocks."""
    one, other = (AveragedSlices(vectors, np.ones_like(vectors)) for vectors in (queries, references))
    return nearest(lambda part: correlations(one.at(part), other, 0.5), own, others).place


def of_neighbours(
    queries: NDArray[np.float32], references: NDArray[np.float32], own: NDArray[np.int64], others: NDArray[np.int64]
) -> Places:
    """scikit-learn's exact search; vectors have length one, so that the nearest is the most similar."""
    search = NearestNeighbors(n_neighbors=SLICES_PER_PATIENT + 1, algorithm="brute").fit(references)
    places = search.kneighbors(queries, return_distance=False)
    allowed = others[places] != own[:, None]
    return np.asarray(places[np.arange(len(places)), allowed.argmax(axis=1)])


def by_loop(
    queries: NDArray[np.float32], references: NDArray[np.float32], own: NDArray[np.int64], others: NDArray[np.int64]
) -> Places:
    """Sample by sample: the correlation with each slice of another patient."""
    places = []
    for query, patient in zip(queries, own, strict=True):
        allowed = np.flatnonzero(others != patient)
        correlations = [np.corrcoef(query, references[place])[0, 1] for place in allowed]
        places.append(allowed[int(np.argmax(correlations))])
    return np.array(places)


if __name__ == "__main__":
    main()
