"""Skull-stripping backends against known brains: phantoms, and the published masks of open_ms_data.

    python benchmarks/skull_stripping.py --work DIR [--phantoms 3] [--open-ms ROOT] [--out CSV]
        [--backends deepbet plain ants] [--contrasts t1w flair t2w] [--size paper]

Patients are registered and bias-corrected by msdiff's own commands into DIR/subject, once: what is there is used. Then
every backend finds the brain in every contrast of every session, on one thread. A row holds the overlap (Dice) with the
known brain, the parts of the known brain that are missed and that are added, the part of the lesion volume (open_ms:
of the changed volume) that lies outside, and the CPU seconds; rows of the session `patient` are the mask that most
sessions agree on, as msdiff uses it. Patient 03 of open_ms has a published mask that cuts the brain: it is left out of
the medians.
"""

import argparse
import csv
import json
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from msdiff import backends
from msdiff.__main__ import main as msdiff
from msdiff.antspy import limit_threads
from msdiff.config_files import SIZES, merged_config
from msdiff.errors import BadInput
from msdiff.images import Grid, load_image, load_mask, save
from msdiff.patients import image_path, patient_images
from msdiff.preprocess.options import split
from msdiff.preprocess.skull_stripping import BACKENDS, BrainOptions, Session, majority
from msdiff.spaces import load_itk_affine, resample_labels

CONTRASTS = ["flair", "t1w", "t2w"]
WRONG_MASKS = ("sub-03",)
LESIONS = ("lesion_mask", "change_mask")


def chosen(part: dict[str, Any], backend: str) -> dict[str, Any]:
    """A pluggable part of the config as a command takes it."""
    return {"backend": backend, "options": part.get(backend, {})}


def run(command: str, out: Path, settings: Any, *arguments: object) -> None:
    """One of msdiff's commands, unless its output is there."""
    last = ["--out", out, "--settings", json.dumps(settings)]
    if not out.exists() and (code := msdiff([command, *map(str, arguments), *map(str, last)])):
        raise SystemExit(code)


def made(folder: Path, step: str) -> Path:
    """The patient's own folder of a step; a command writes one per patient."""
    return folder / step / folder.name


def prepare(folder: Path, rows: list[dict[str, str]], config: dict[str, Any]) -> None:
    """Register and correct a patient."""
    part = config["preprocess"]
    registration = {"grid": part["grid"], "registration": chosen(part["registration"], part["registration"]["backend"])}
    patient = ["--patients", json.dumps(rows), "--contrasts", *CONTRASTS, "--threads", 1]
    run("register", folder / "registered", registration, *patient)
    bias = chosen(part["bias"], part["bias"]["backend"])
    run("correct-bias", folder / "corrected", bias, "--registered", made(folder, "registered"), "--threads", 1)


def phantoms(work: Path, count: int, config: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """Simulated patients, with their own brains as the sheet's masks."""
    numbers = config["cohort"]["phantom"]["phantom"]
    for number in range(1, count + 1):
        subject = f"sub-{number:04d}"
        raw = made(work / subject, "raw")
        run("simulate-phantom", raw.parent, numbers, "--subjects", subject, "--contrasts", *CONTRASTS)
        rows = [
            {"subject": subject, "session": session}
            | {contrast: str(path) for contrast, path in images.items() if contrast in CONTRASTS}
            | {mask: str(image_path(raw, session, mask)) for mask in ("lesion_mask", "brain_mask")}
            for session, images in patient_images(raw).items()
        ]
        prepare(work / subject, rows, config)
        yield subject, work / subject


def open_ms(work: Path, root: Path, config: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """Patients of the longitudinal set; their published brains are carried to the grid by the published transforms."""
    sheet = work / "open_ms.tsv"
    if not sheet.exists() and (
        code := msdiff(["index-scans", "--source", "open_ms", "--root", str(root), "--out", str(sheet)])
    ):
        raise SystemExit(code)
    with sheet.open() as file:
        scans = list(csv.DictReader(file, delimiter="\t"))
    for subject in dict.fromkeys(scan["subject"] for scan in scans):
        rows = [
            {key: str(sheet.parent / value) if "/" in value else value for key, value in scan.items() if value}
            for scan in scans
            if scan["subject"] == subject
        ]
        prepare(work / subject, rows, config)
        longitudinal = next(path for path in (root / "longitudinal", root) if (path / "coregistered").is_dir())
        patient = subject.replace("sub-", "patient")
        published = load_mask(longitudinal / "coregistered" / patient / "brainmask.nii.gz")
        (work / subject / "known").mkdir(exist_ok=True)
        for session, images in patient_images(made(work / subject, "registered")).items():
            name = f"{session.removeprefix('ses-')}_FLAIR_to_common_space.txt"
            to_common = np.linalg.inv(load_itk_affine(longitudinal / "raw" / patient / name))
            to_flair = load_itk_affine(made(work / subject, "registered") / f"{session}_flair_to_grid.txt")
            grid = load_image(images["flair"]).grid
            save(resample_labels(published, grid, to_common @ to_flair), known_brain(work / subject, session))
        yield subject, work / subject


def known_brain(folder: Path, session: str) -> Path:
    """Where a known brain stands that is not the sheet's."""
    return image_path(folder / "known", session, "brain_mask")


def known(folder: Path, session: str) -> tuple[np.ndarray, np.ndarray]:
    """A session's brain and its lesions, or what changed (all false where neither is known)."""
    path = known_brain(folder, session)
    brain = load_mask(path if path.is_file() else image_path(made(folder, "registered"), session, "brain_mask")).data
    paths = [image_path(made(folder, "registered"), session, name) for name in LESIONS]
    lesions = next((load_mask(path).data for path in paths if path.is_file()), np.zeros_like(brain))
    return np.asarray(brain, dtype=bool), np.asarray(lesions, dtype=bool)


def row(found: np.ndarray, brain: np.ndarray, lesions: np.ndarray, grid: Grid, seconds: float) -> dict[str, float]:
    """What is measured of a mask."""
    ml = grid.voxel_volume_mm3 / 1000
    return {
        "dice": 2 * (found & brain).sum() / (found.sum() + brain.sum()),
        "missed": (brain & ~found).sum() / brain.sum(),
        "added": (found & ~brain).sum() / brain.sum(),
        "found_ml": found.sum() * ml,
        "known_ml": brain.sum() * ml,
        "lesion_ml": lesions.sum() * ml,
        "lesion_outside": (lesions & ~found).sum() / max(lesions.sum(), 1),
        "cpu_s": seconds,
    }


def measure(
    subject: str, folder: Path, names: Iterable[str], contrasts: Iterable[str], part: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Rows of every backend, contrast and session of a patient."""
    sessions = patient_images(made(folder, "corrected"))
    for name in names:
        strip = backends.load(BACKENDS, name)
        _, options = split(BrainOptions, part[name], "skull_stripping")
        for contrast in contrasts:
            masks, brains, changes, spent = [], [], [], []
            for session, images in sessions.items():
                if contrast not in images:
                    continue
                image = load_image(images[contrast])
                before = {contrast: load_image(image_path(made(folder, "registered"), session, contrast))}
                brain, lesions = known(folder, session)
                began = time.process_time()
                try:
                    found = strip(Session(before, {contrast: image}, None), options, 1)
                except BadInput as error:
                    print(f"{subject} {session} {contrast} {name}: {error}")
                    continue
                spent.append(time.process_time() - began)
                masks.append(found)
                brains.append(brain)
                changes.append(lesions)
                where = {"subject": subject, "session": session, "contrast": contrast, "backend": name}
                yield where | row(found, brain, lesions, image.grid, spent[-1])
            if len(masks) > 1:
                where = {"subject": subject, "session": "patient", "contrast": contrast, "backend": name}
                lesions = np.any(changes, axis=0)
                yield where | row(majority(masks), majority(brains), lesions, image.grid, sum(spent))


def summary(rows: list[dict[str, Any]]) -> None:
    """Print medians over sessions, and over patients' masks, by source, contrast and backend."""
    believed = [row for row in rows if row["subject"] not in WRONG_MASKS]
    groups: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for entry in believed:
        source = "phantom" if len(entry["subject"]) == len("sub-0001") else "open_ms"
        level = "patient" if entry["session"] == "patient" else "session"
        groups.setdefault((source, entry["contrast"], entry["backend"], level), []).append(entry)
    print("source   contrast backend    masks        dice (least)  missed  added  lesions outside (most)  CPU s")
    for (source, contrast, name, level), entries in sorted(groups.items()):
        middle = {key: statistics.median(entry[key] for entry in entries) for key in ("dice", "missed", "added")}
        print(
            f"{source:8} {contrast:8} {name:10} {len(entries)} {level}s  "
            f"{middle['dice']:.3f} ({min(entry['dice'] for entry in entries):.3f})  "
            f"{middle['missed']:.3f}  {middle['added']:.3f}  "
            f"{max(entry['lesion_outside'] for entry in entries):.4f}  "
            f"{statistics.median(entry['cpu_s'] for entry in entries):.1f}"
        )


def main() -> None:
    """Prepare, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--phantoms", type=int, default=3)
    parser.add_argument("--open-ms", type=Path)
    parser.add_argument("--size", choices=SIZES, default="paper", help="of the config")
    parser.add_argument("--backends", nargs="+", default=["deepbet", "plain", "ants"])
    parser.add_argument("--contrasts", nargs="+", default=["t1w", "flair", "t2w"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    limit_threads(1)
    config = merged_config(size=arguments.size)
    arguments.work.mkdir(parents=True, exist_ok=True)
    sources = [phantoms(arguments.work, arguments.phantoms, config)]
    if arguments.open_ms:
        sources.append(open_ms(arguments.work, arguments.open_ms, config))
    rows = []
    for source in sources:
        for subject, folder in source:
            part = config["preprocess"]["skull_stripping"]
            for entry in measure(subject, folder, arguments.backends, arguments.contrasts, part):
                rows.append(entry)
                print(" ".join(f"{v:.4f}" if isinstance(v, float) else str(v) for v in entry.values()), flush=True)
    summary(rows)
    if arguments.out:
        with arguments.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
