"""Judge parcellation backends on images painted from label maps: Dice against the labels, and CPU time per scan.

    python benchmarks/parcellation.py --label-maps DIR --backends atlas plain --out parcellation.csv \
        [--maps training_seg_14 training_seg_16] [--contrasts t1w flair t2w] [--spacings 1 3] \
        [--environment samseg=.environments/samseg/bin/python] [--work DIR] [--set NAME.KEY=JSON]

Each map of DIR ({name}.nii.gz, whole heads with FreeSurfer codes, as SynthSeg publishes them) gets MS lesions, is
painted, put into a scanner with a pose, thick slices, a bias field and noise, brought to the common grid by the
stages `register`, `correct_bias` and `normalise` as config.yaml has them, and given to `python -m msdiff parcellate`
with one contrast. The brain mask is the true one, so that parcellation alone is judged. The true labels come to the
grid by the registration's map. What stands in the folder --work is not made again.

A backend runs in the interpreter that --environment names for it, else in .environments/{backend}, where that exists.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from msdiff.antspy import limit_threads
from msdiff.config_files import merged_config
from msdiff.images import Grid, Volume, axis_aligned_grid, load_labels, load_mask, save
from msdiff.parcellation.regions import LABELS
from msdiff.patients import image_path
from msdiff.preprocess.bias import correct_bias
from msdiff.preprocess.normalisation import normalise
from msdiff.preprocess.registration import RawScan, register_patient
from msdiff.settings import Choice
from msdiff.spaces import FWHM_PER_SIGMA, Matrix, resample, resample_labels, transform_points

ROOT = Path(__file__).parent.parent
SESSION = "ses-1"

# Relaxation times T1, T2, T2* in ms and proton density, at 1.5 T, of the tissues of BrainWeb (Kwan, Evans and Pike,
# IEEE Transactions on Medical Imaging 18, 1999), MS lesion included.
TISSUES = {
    "air": (1000.0, 50.0, 30.0, 0.0),
    "fluid": (2569.0, 329.0, 58.0, 1.0),
    "grey": (833.0, 83.0, 69.0, 0.86),
    "white": (500.0, 70.0, 61.0, 0.77),
    "fat": (350.0, 70.0, 58.0, 1.0),
    "muscle": (900.0, 47.0, 30.0, 1.0),
    "lesion": (752.0, 237.0, 204.0, 0.76),
}

# What each code of the label maps is made of, as shares. Deep nuclei hold white matter: the shares are by eye.
NUCLEI = {10: 0.5, 11: 0.9, 12: 0.85, 13: 0.35, 16: 0.25, 26: 0.9, 28: 0.25}  # grey share; the left ones
PAIRS = {2: 41, 3: 42, 4: 43, 5: 44, 7: 46, 8: 47, 10: 49, 11: 50, 12: 51, 13: 52, 17: 53, 18: 54, 26: 58, 28: 60}
MADE_OF = (
    {code: {"white": 1.0} for code in (2, 7, 25, 57, 85, 512, 530)}
    | {code: {"grey": 1.0} for code in (3, 8, 17, 18)}
    | {code: {"fluid": 1.0} for code in (4, 5, 14, 15, 24, 72, 506)}
    | {code: {"grey": share, "white": 1 - share} for code, share in NUCLEI.items()}
    | {code: {"grey": 0.5, "fluid": 0.5} for code in (136, 137, 163, 164)}  # choroid plexus
    | {code: {"muscle": 0.5} for code in (30, 62, 502, 514)}  # vessels, darkened by flow
    | {code: {"muscle": 1.0} for code in (507, 508, 509)}  # soft tissue, mucosa
    | {511: {"fat": 1.0}, 515: {"air": 1.0}, 516: {"fat": 0.6}}  # scalp, bone, marrow
)
MADE_OF |= {right: MADE_OF[left] for left, right in PAIRS.items()}

# Labels of the maps that count as another one, as in SynthSeg's own lists; what neither names is no brain.
COUNTED_AS = {25: 2, 57: 41, 136: 4, 137: 5, 163: 43, 164: 44}
WHITE = (2, 41, 25, 57)
VENTRICLES = (4, 43, 136, 163)
CSF_RIM_MM = 3.0  # fluid this near to the brain lies in the mask, as skull-stripping leaves it

LESIONS = 20
LESION_DIAMETERS_MM = (3.0, 10.0)
LESION_SEVERITY = (0.4, 1.0)  # share of lesion tissue in it, the rest is white matter
PERIVENTRICULAR_SHARE = 0.65
PERIVENTRICULAR_MM = 6.0
NOISE = 0.03  # standard deviation, of the brain's mean
BIAS = 0.10  # standard deviation of its logarithm
ROTATION_DEGREES, TRANSLATION_MM = 8.0, 8.0  # head pose, at most, by axis
FIELD_OF_VIEW_MM = (200.0, 252.0, 216.0)

# The common grids: MNI152's size at 1 mm, and the one of config.yaml.
GRIDS = {1: axis_aligned_grid((197, 233, 189), (1.0, 1.0, 1.0), (0.0, -18.0, 22.0))}
GRIDS[3] = axis_aligned_grid((256, 256, 60), (1.0, 1.0, 3.0), (0.0, -18.0, 8.0))


class Case(NamedTuple):
    """One painted image."""

    label_map: str
    spacing: int
    contrast: str

    @property
    def name(self) -> str:
        """The patient's name that the stage sees."""
        return f"{self.label_map}_{self.contrast}_{self.spacing}mm"


def signals(contrast: str) -> dict[str, float]:
    """Magnitude of each tissue: spoiled gradient echo (t1w), spin echo (t2w), inversion recovery (flair)."""
    values = {}
    for name, (t1, t2, t2_star, density) in TISSUES.items():
        match contrast:
            case "t1w":  # repetition 18 ms, echo 10 ms, flip angle 30 degrees: BrainWeb's
                decay, angle = np.exp(-18.0 / t1), np.deg2rad(30.0)
                magnetisation = np.sin(angle) * (1 - decay) / (1 - np.cos(angle) * decay) * np.exp(-10.0 / t2_star)
            case "t2w":  # repetition 3300 ms, echo 120 ms: BrainWeb's
                magnetisation = (1 - np.exp(-3300.0 / t1)) * np.exp(-120.0 / t2)
            case "flair":  # repetition 9000 ms, echo 120 ms, inversion where the fluid's signal is nought
                inversion = TISSUES["fluid"][0] * (np.log(2) - np.log1p(np.exp(-9000.0 / TISSUES["fluid"][0])))
                magnetisation = (1 - 2 * np.exp(-inversion / t1) + np.exp(-9000.0 / t1)) * np.exp(-120.0 / t2)
            case _:
                raise SystemExit(f"contrast {contrast}: expected t1w, t2w or flair")
        values[name] = float(abs(density * magnetisation))
    return values


def paint(
    codes: NDArray[np.int32], severity: NDArray[np.float32], contrast: str, spacing_mm: float
) -> NDArray[np.float32]:
    """The signal (X, Y, Z) of labelled voxels, white matter as far lesion as severity says, blurred to 1 mm."""
    unknown = np.setdiff1d(codes, [0, *MADE_OF])
    if unknown.size:
        raise SystemExit(f"label map: expected codes of MADE_OF, got {unknown[:5].tolist()}; say what they are made of")
    signal = signals(contrast)
    table = np.zeros(codes.max() + 1, dtype=np.float32)
    for code, shares in MADE_OF.items():
        if code < table.size:
            table[code] = sum(share * signal[name] for name, share in shares.items())
    painted = table[codes]
    painted += severity * (signal["lesion"] - painted)
    # The labels' hard edges become those of voxels of 1 mm that hold several tissues.
    return np.asarray(ndimage.gaussian_filter(painted, 1 / FWHM_PER_SIGMA / spacing_mm))


def simulate_lesions(codes: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Share of lesion tissue (X, Y, Z): ellipsoids in white matter, most of them near the lateral ventricles; 1 mm."""
    white = np.isin(codes, WHITE)
    from_ventricles = ndimage.distance_transform_edt(~np.isin(codes, VENTRICLES))
    near = np.argwhere(white & (from_ventricles <= PERIVENTRICULAR_MM))
    far = np.argwhere(white & (from_ventricles > PERIVENTRICULAR_MM))
    severity = np.zeros(codes.shape, dtype=np.float32)
    for number in range(LESIONS):
        places = near if number < PERIVENTRICULAR_SHARE * LESIONS else far
        centre = places[rng.integers(len(places))]
        diameter = np.exp(rng.uniform(*np.log(LESION_DIAMETERS_MM)))
        axes = diameter / 2 * np.array([1.0, rng.uniform(0.6, 1), rng.uniform(0.6, 1)])
        turn = Rotation.random(random_state=rng).as_matrix()
        reach = int(np.ceil(diameter / 2)) + 1
        box = tuple(slice(max(c - reach, 0), c + reach + 1) for c in centre)
        offsets = np.stack(
            np.meshgrid(
                *(np.arange(s.start, min(s.stop, n)) - c for s, n, c in zip(box, codes.shape, centre, strict=True)),
                indexing="ij",
            ),
            axis=-1,
        )
        inside = (((offsets @ turn) / axes) ** 2).sum(axis=-1) <= 1
        lesion = np.where(inside & white[box], rng.uniform(*LESION_SEVERITY), 0)
        severity[box] = np.maximum(severity[box], lesion)
    return severity


def choose_pose(centre_mm: NDArray[np.float64], rng: np.random.Generator) -> Matrix:
    """A rigid map (4, 4) from points of the head to points of the scanner, a turn about the head's centre."""
    pose = np.eye(4)
    turn = rng.uniform(-ROTATION_DEGREES, ROTATION_DEGREES, 3)
    pose[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    pose[:3, 3] = centre_mm - pose[:3, :3] @ centre_mm + rng.uniform(-TRANSLATION_MM, TRANSLATION_MM, 3)
    return pose


def acquire(head: Volume, pose: Matrix, grid: Grid, level: float, rng: np.random.Generator) -> Volume:
    """A head as a scanner shows it: voxels average the signal over slices, a bias field, complex noise; one scale."""
    to_head = np.linalg.inv(pose)
    averaged = np.zeros(grid.shape, dtype=np.float32)
    samples = max(1, round(grid.spacing_mm[2]))
    for offset in (np.arange(samples) + 0.5) / samples - 0.5:
        shift = np.eye(4)
        shift[2, 3] = offset
        index = np.linalg.inv(head.affine) @ to_head @ grid.affine @ shift
        averaged += ndimage.affine_transform(
            head.data, index[:3, :3], index[:3, 3], output_shape=grid.shape, order=1, mode="constant"
        )
    averaged /= samples * level
    knots = ndimage.gaussian_filter(rng.standard_normal((5, 5, 5)), 0.7)
    field = ndimage.zoom(knots, np.array(grid.shape) / 5, order=3)
    signal = averaged * np.exp(BIAS * (field - field.mean()) / field.std())
    noisy = np.hypot(signal + NOISE * rng.standard_normal(grid.shape), NOISE * rng.standard_normal(grid.shape))
    return Volume((1000 * noisy).astype(np.float32), grid.affine)


def true_labels(codes: NDArray[np.int32], spacing_mm: float) -> NDArray[np.int32]:
    """Codes of LABELS (X, Y, Z): fluid only near the brain, nothing outside."""
    table = np.zeros(codes.max() + 1, dtype=np.int32)
    for code in (*LABELS, *COUNTED_AS):
        if code < table.size:
            table[code] = COUNTED_AS.get(code, code)
    labels = table[codes]
    brain = (labels > 0) & (labels != 24)
    near = ndimage.distance_transform_edt(~brain) * spacing_mm <= CSF_RIM_MM
    return np.where(near | (labels != 24), labels, 0).astype(np.int32)


def prepare(label_map: Path, spacing: int, contrasts: list[str], config: dict[str, Any], work: Path) -> None:
    """Paint a map in all contrasts and bring them through the imaging stages, into one patient per contrast."""
    cases = [Case(label_map.name.removesuffix(".nii.gz"), spacing, contrast) for contrast in contrasts]
    if all((work / "normalised" / case.name).exists() for case in cases):
        return
    labelled = load_labels(label_map)
    codes = np.asarray(labelled.data, dtype=np.int32)
    grid, size_mm = GRIDS[spacing], float(labelled.grid.spacing_mm[0])
    # Same lesions and pose at every spacing.
    rng = np.random.default_rng(crc32(label_map.name.encode()))
    severity = simulate_lesions(codes, rng)
    truth = Volume(true_labels(codes, size_mm), labelled.affine)
    lesions = Volume(severity > 0, labelled.affine)
    brain = truth.data > 0
    centre_mm = transform_points(labelled.affine, np.argwhere(brain).mean(axis=0))
    pose = choose_pose(centre_mm, rng)
    spacing_mm = (1.0, 1.0, float(spacing))
    shape = tuple(round(size / step) for size, step in zip(FIELD_OF_VIEW_MM, spacing_mm, strict=True))
    scanner = axis_aligned_grid(shape, spacing_mm, tuple((centre_mm - [0, 0, 20]).tolist()))
    images = {}
    for case in cases:
        signal = paint(codes, severity, case.contrast, size_mm)
        noise = np.random.default_rng(crc32(case.name.encode()))
        images[case.contrast] = acquire(
            Volume(signal, labelled.affine), pose, scanner, float(signal[brain].mean()), noise
        )
        save(images[case.contrast], work / "painted" / f"{case.name}.nii.gz")
    [maps] = register_patient(
        [RawScan(SESSION, images, {}, None)], contrasts, grid, chosen(config["preprocess"]["registration"])
    )
    for case in cases:
        to_head = np.linalg.inv(pose) @ maps[case.contrast]
        moved = resample_labels(truth, grid, to_head)
        mask = np.asarray(moved.data > 0)
        corrected = correct_bias(
            resample(images[case.contrast], grid, maps[case.contrast]), chosen(config["preprocess"]["bias"])
        )
        normalised, _ = normalise(
            {SESSION: np.asarray(corrected.data)}, mask, case.contrast, chosen(config["preprocess"]["normalisation"])
        )
        save(moved, work / "truth" / f"{case.name}.nii.gz")
        save(resample_labels(lesions, grid, to_head), work / "lesions" / f"{case.name}.nii.gz")
        save(corrected, image_path(work / "corrected" / case.name, SESSION, case.contrast))
        save(Volume(mask, grid.affine), work / "stripped" / case.name / "brain_mask.nii.gz")
        save(
            Volume(normalised[SESSION], grid.affine),
            image_path(work / "normalised" / case.name, SESSION, case.contrast),
        )


def chosen(section: dict[str, Any]) -> Choice:
    """A config section's backend with its options."""
    return Choice(backend=section["backend"], options=section[section["backend"]] or {})


def parcellate(case: Case, backend: str, python: str, config: dict[str, Any], threads: int, work: Path) -> float | None:
    """Run the stage's command on one case, unless it was; CPU seconds, or None where it failed."""
    out = work / "regions" / backend / case.name
    timing = out / "seconds.json"
    if not timing.exists():
        section = config["parcellation"]
        settings = {"backend": backend, "options": section[backend] or {}, "limits": section["limits"]}
        command = [python, "-m", "msdiff", "parcellate", "--out", str(out), "--threads", str(threads)]
        for stage in ("normalised", "corrected", "stripped"):
            command += [f"--{stage}", str(work / stage / case.name)]
        before = cpu_seconds()
        done = subprocess.run([*command, "--settings", json.dumps(settings)], check=False, cwd=ROOT)
        if done.returncode:
            print(f"{backend} {case.name}: failed with exit code {done.returncode}", flush=True)
            return None
        timing.write_text(json.dumps({"cpu_seconds": cpu_seconds() - before, "threads": threads}))
    return float(json.loads(timing.read_text())["cpu_seconds"])


def interpreter(backend: str) -> str:
    """The Python of the backend's own environment, else this one."""
    own = ROOT / ".environments" / backend / "bin/python"
    return str(own) if own.exists() else sys.executable


def cpu_seconds() -> float:
    """User and system time of all ended child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def dice(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """Overlap of two masks; NaN where both are empty."""
    total = np.count_nonzero(found) + np.count_nonzero(true)
    return 2 * np.count_nonzero(found & true) / total if total else float("nan")


def score(
    found: NDArray[np.int32], true: NDArray[np.int32], lesions: NDArray[np.bool_]
) -> Iterator[tuple[str, str, float]]:
    """Measures of one label map: (measure, structure, value).

    `dice` of pooled sides and of every structure; `dice_cerebrum` leaves out what lies truly in deep nuclei,
    cerebellum and brainstem, which backends that know tissues only do not tell apart; `lesions_white` is the share of
    lesion voxels labelled cerebral white matter.
    """
    pooled = {"cerebral white matter": (2, 41), "cerebral cortex": (3, 42)}
    cerebrum = np.isin(true, (0, 2, 3, 4, 5, 24, 41, 42, 43, 44))
    for name, codes in pooled.items():
        in_found, in_true = np.isin(found, codes), np.isin(true, codes)
        yield "dice", name, dice(in_found, in_true)
        yield "dice_cerebrum", name, dice(in_found & cerebrum, in_true)
    for code, name in LABELS.items():
        if code:
            yield "dice", name, dice(found == code, true == code)
    yield "lesions_white", "lesions", float(np.isin(found[lesions], (2, 41)).mean())


def rows_of(case: Case, backend: str, seconds: float, work: Path) -> list[dict[str, object]]:
    """The table's rows of one case and backend."""
    true = load_labels(work / "truth" / f"{case.name}.nii.gz")
    lesions = load_mask(work / "lesions" / f"{case.name}.nii.gz", true.grid)
    found = load_labels(work / "regions" / backend / case.name / case.name / "regions.nii.gz", true.grid)
    measures = [*score(found.data, true.data, lesions.data), ("cpu_seconds", "all", seconds)]
    return [
        case._asdict() | {"backend": backend, "measure": measure, "structure": structure, "value": value}
        for measure, structure, value in measures
    ]


def summary(table: pd.DataFrame) -> str:
    """One line of Markdown per case and backend."""
    columns = {
        ("dice", "cerebral white matter"): "white matter",
        ("dice", "cerebral cortex"): "cortex",
        ("dice_cerebrum", "cerebral white matter"): "white matter, in the cerebrum",
        ("dice_cerebrum", "cerebral cortex"): "cortex, in the cerebrum",
        ("lesions_white", "lesions"): "lesions in white matter",
        ("cpu_seconds", "all"): "CPU s",
    }
    keys = ["backend", "spacing", "contrast", "label_map"]
    wide = table.pivot_table(index=keys, columns=["measure", "structure"], values="value")[list(columns)]
    lines = ["| " + " | ".join([*keys, *columns.values()]) + " |", "|---" * (len(keys) + len(columns)) + "|"]
    for index, row in wide.iterrows():
        values = [f"{value:.0f}" if column[0] == "cpu_seconds" else f"{value:.3f}" for column, value in row.items()]
        lines.append("| " + " | ".join([*map(str, index), *values]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Prepare, parcellate, score, and print one row per case and backend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--label-maps", type=Path, required=True)
    parser.add_argument("--maps", nargs="+", default=["training_seg_14", "training_seg_16"])
    parser.add_argument("--contrasts", nargs="+", default=["t1w", "flair", "t2w"], choices=["t1w", "flair", "t2w"])
    parser.add_argument("--spacings", nargs="+", type=int, default=[1, 3], choices=list(GRIDS), help="slices in mm")
    parser.add_argument("--backends", nargs="+", required=True)
    parser.add_argument("--environment", nargs="*", default=[], metavar="BACKEND=PYTHON")
    parser.add_argument("--set", nargs="*", default=[], metavar="BACKEND.KEY=JSON", help="options beside config.yaml's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--work", type=lambda text: Path(text).resolve(), default=ROOT / "results/benchmarks/parcellation"
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS=str(arguments.threads))
    limit_threads(arguments.threads)
    config = merged_config(size="paper")
    for text in arguments.set:
        key, value = text.split("=", 1)
        backend, option = key.split(".")
        config["parcellation"][backend][option] = json.loads(value)
    pythons = {backend: interpreter(backend) for backend in arguments.backends}
    pythons |= dict(text.split("=", 1) for text in arguments.environment)
    cases = [
        Case(name, spacing, contrast)
        for name in arguments.maps
        for spacing in arguments.spacings
        for contrast in arguments.contrasts
    ]
    for name in arguments.maps:
        for spacing in arguments.spacings:
            prepare(arguments.label_maps / f"{name}.nii.gz", spacing, arguments.contrasts, config, arguments.work)
    rows: list[dict[str, object]] = []
    for backend in arguments.backends:
        for case in cases:
            seconds = parcellate(case, backend, pythons[backend], config, arguments.threads, arguments.work)
            if seconds is not None:
                rows += rows_of(case, backend, seconds, arguments.work)
    table = pd.DataFrame(rows)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.out, index=False, float_format="%.4f")
    print(summary(table))


if __name__ == "__main__":
    main()
