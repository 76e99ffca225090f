"""Registration backends against known maps: phantoms in random poses, and the published transforms of open_ms_data.

    python benchmarks/registration.py [--backends greedy ants plain] [--heads 5] [--poses 20] [--spacing-mm 1.5 1.5 4]
        [--degrees 20] [--shift-mm 20] [--open-ms ROOT] [--out CSV] [--size paper]

Two FLAIRs of one head, rigidly, by the backend's own contract and the config's options, one thread. Phantoms: each head
is scanned once straight and then in poses that are uniform within the limits about and along each axis, with new
lesions, bias, gain and noise of their own at each. Errors are the angle between the found and the true rotation, and
how far the brain's centre is off; more than 3 degrees or 3 mm is a failure. Real pairs: how far the found and the
published map are apart at the brain's surface (median over its voxels), and the correlation of the two FLAIRs in the
brain. One row per pair and backend goes to the CSV; the summary is printed.
"""

import argparse
import csv
import logging
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from msdiff import backends
from msdiff.antspy import limit_threads
from msdiff.config_files import SIZES, merged_config
from msdiff.images import Volume, load_image, load_mask
from msdiff.phantom.scans import simulate_scans
from msdiff.phantom.settings import PhantomSettings
from msdiff.preprocess.registration import BACKENDS, cubic, even, session_masks
from msdiff.settings import check
from msdiff.spaces import Matrix, load_itk_affine, resample, resample_labels, transform_points

FAILURE_DEGREES = 3.0
FAILURE_MM = 3.0
COLUMNS = ["set", "case", "backend", "rotation_degrees", "translation_mm", "surface_mm", "correlation", "cpu_seconds"]


class Pair(NamedTuple):
    """Two images, the fixed one's brain on its own grid, and the true or published map (4, 4)."""

    case: str
    fixed: Volume
    moving: Volume
    brain: Volume
    known: Matrix


def phantoms(numbers: dict[str, Any], arguments: argparse.Namespace) -> Iterator[Pair]:
    """Each head straight against itself in its poses; at each pose new lesions have joined those of the ones before."""
    scanner = {
        "spacing_mm": arguments.spacing_mm,
        "rotation_degrees": arguments.degrees,
        "translation_mm": arguments.shift_mm,
    }
    activity = {"placebo": {"mean_count": [2.0] * arguments.poses, "active_percent": [80.0] * arguments.poses}}
    changed = numbers | {
        "arms": {"placebo": arguments.heads},
        "sessions": [f"w{week:03d}" for week in range(arguments.poses + 1)],
        "activity": activity,
        "active_only": False,
        "scanner": numbers["scanner"] | scanner,
        # Heads of 2 mm are built in a tenth of the time.
        "anatomy": numbers["anatomy"] | {"working_mm": 2},
    }
    settings = check(PhantomSettings, changed, "phantom")
    for number in range(1, arguments.heads + 1):
        scans = simulate_scans(settings, f"sub-{number:04d}", ["flair"])
        first = next(scans)
        # The first scan is seen from its own head, so that the others lie as far from it as the limits say.
        straight = np.linalg.inv(first.to_head["flair"])
        fixed, brain = (
            Volume(volume.data, straight @ volume.affine) for volume in (first.images["flair"], first.brain_mask)
        )
        for other in scans:
            yield Pair(f"{number}/{other.session}", fixed, other.images["flair"], brain, other.to_head["flair"])


def open_ms(root: Path) -> Iterator[Pair]:
    """The two FLAIRs of every patient with raw images."""
    longitudinal = next(path for path in (root / "longitudinal", root) if (path / "raw").is_dir())
    for folder in sorted((longitudinal / "raw").iterdir()):
        first, second = (load_image(folder / f"study{number}_FLAIR.nii.gz") for number in (1, 2))
        to_first, to_second = (
            load_itk_affine(folder / f"study{number}_FLAIR_to_common_space.txt") for number in (1, 2)
        )
        brain = load_mask(longitudinal / "coregistered" / folder.name / "brainmask.nii.gz")
        back = np.linalg.inv(to_first)
        yield Pair(folder.name, first, second, resample_labels(brain, first.grid, back), to_second @ back)


def judge(
    kind: str, pair: Pair, names: Iterable[str], options: dict[str, Any], spacing_mm: float
) -> Iterator[dict[str, Any]]:
    """One row per backend."""
    fixed, moving = (even(cubic(volume, spacing_mm)) for volume in (pair.fixed, pair.moving))
    masks = session_masks(fixed, pair.brain, np.eye(4))
    brain = np.asarray(resample_labels(pair.brain, fixed.grid, np.eye(4)).data)
    points = transform_points(fixed.affine, np.argwhere(brain & ~ndimage.binary_erosion(brain)).astype(np.float64))
    centre = transform_points(fixed.affine, np.argwhere(brain).mean(axis=0))
    for name in names:
        register = backends.load(BACKENDS, name)
        start = time.process_time()
        found = register(fixed, moving, masks, "rigid", None, options=options[name])
        seconds = time.process_time() - start
        apart = np.linalg.norm(transform_points(found, points) - transform_points(pair.known, points), axis=1)
        turn = found[:3, :3] @ np.linalg.inv(pair.known[:3, :3])
        moved = resample(moving, fixed.grid, found)
        row = {
            "rotation_degrees": np.degrees(Rotation.from_matrix(turn).magnitude()),
            "translation_mm": np.linalg.norm(transform_points(found, centre) - transform_points(pair.known, centre)),
            "surface_mm": np.median(apart),
            "correlation": np.corrcoef(fixed.data[brain], moved.data[brain])[0, 1],
            "cpu_seconds": seconds,
        }
        yield {"set": kind, "case": pair.case, "backend": name} | {key: round(float(row[key]), 4) for key in row}


def summary(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of two Markdown tables."""
    yield "Phantoms; errors are median, 90th percentile, worst."
    yield ""
    yield "| backend | pairs | rotation, degrees | translation, mm | failures | CPU s |"
    yield "|---|---|---|---|---|---|"
    for name in dict.fromkeys(row["backend"] for row in rows if row["set"] == "phantom"):
        own = [row for row in rows if row["set"] == "phantom" and row["backend"] == name]
        turn, shift = ([row[key] for row in own] for key in ("rotation_degrees", "translation_mm"))
        failures = sum(a > FAILURE_DEGREES or b > FAILURE_MM for a, b in zip(turn, shift, strict=True))
        spread = [f"{np.median(part):.3f}, {np.quantile(part, 0.9):.3f}, {max(part):.3f}" for part in (turn, shift)]
        seconds = statistics.median(row["cpu_seconds"] for row in own)
        yield f"| {name} | {len(own)} | {spread[0]} | {spread[1]} | {failures} | {seconds:.1f} |"
    yield ""
    yield "| pair | backend | from the published map at the brain's surface, mm | correlation | CPU s |"
    yield "|---|---|---|---|---|"
    for row in rows:
        if row["set"] == "open_ms":
            values = f"{row['surface_mm']:.2f} | {row['correlation']:.3f} | {row['cpu_seconds']:.1f}"
            yield f"| {row['case']} | {row['backend']} | {values} |"


def main() -> None:
    """Register every pair with every backend; print rows as they come, then the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backends", nargs="+", default=["greedy", "ants", "plain"])
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--poses", type=int, default=20, help="of each head")
    parser.add_argument("--spacing-mm", type=float, nargs=3, default=[1.5, 1.5, 4.0])
    parser.add_argument("--degrees", type=float, default=20.0)
    parser.add_argument("--shift-mm", type=float, default=20.0)
    parser.add_argument("--open-ms", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--size", choices=SIZES, default="paper", help="of the config")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    limit_threads(1)
    config = merged_config(size=arguments.size)
    part = config["preprocess"]
    spacing_mm = float(np.cbrt(np.prod(part["grid"]["spacing_mm"])))
    rows: list[dict[str, Any]] = []
    sets = [("open_ms", open_ms(arguments.open_ms))] if arguments.open_ms else []
    if arguments.heads:
        sets.append(("phantom", phantoms(config["cohort"]["phantom"]["phantom"], arguments)))
    for kind, pairs in sets:
        for pair in pairs:
            for row in judge(kind, pair, arguments.backends, part["registration"], spacing_mm):
                rows.append(row)
                print(*row.values(), flush=True)
    print(*summary(rows), sep="\n")
    if arguments.out:
        with arguments.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
