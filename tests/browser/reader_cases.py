"""Data of a small reader study: two sessions of six patients, and follow-ups that two generators sampled."""

import json

import numpy as np
import pandas as pd

from msdiff.sampling.shards import save_shard
from msdiff.stack.reading import load_stack

SHAPE = (20, 24, 12)  # x, y, z
SPACING_MM = (2.0, 1.0, 4.0)
PATIENTS = 6
CHANGED = range(2, 10)
GENERATORS = ("long_ms_diff", "other_model")

SETTINGS = {
    "seed": 0,
    "contrast": "flair",
    "cases": 20,
    "synthetic_share": 0.5,
    "both_of_a_slice": False,
    "minimum_change_mm2": 6.0,
    "slices_apart_mm": 8.0,
    "repeats": 3,
    "repeat_gap": 5,
    "convention": "radiological",
    "window": [-1.0, 1.0],
}


def write_stack(folder):
    """A stack of grainy brains with a small change in every follow-up."""
    rng = np.random.default_rng(3)
    shape = (2 * PATIENTS, *SHAPE[::-1])
    brain = np.zeros(shape, dtype=np.uint8)
    brain[:, :, 3:21, 2:18] = 1
    # One session's brain is narrower: what lies outside of either must not show.
    brain[1::2, :, :, 16:] = 0
    images = np.where(brain > 0, rng.uniform(-0.5, 0.9, shape), -1).astype(np.float16)
    change = np.zeros(shape, dtype=np.uint8)
    for patient in range(PATIENTS):
        for number in CHANGED:
            change[2 * patient + 1, number, 6:8, 4 : 5 + number % 3] = 1
    for name, array in {"flair": images, "brain_mask": brain, "change_mask": change}.items():
        np.save(folder / f"{name}.npy", array)
    pd.DataFrame({"row": range(len(images))}).to_csv(folder / "scans.tsv", sep="\t", index=False)
    pd.DataFrame({"pair": []}).to_csv(folder / "slices.tsv", sep="\t", index=False)
    affine = np.diag([*SPACING_MM, 1.0])
    (folder / "grid.json").write_text(json.dumps({"shape": SHAPE, "affine": affine.tolist()}))


def write_shards(stack_folder, folder):
    """One shard per generator, their folders; the second generator did not sample the first patient."""
    changes = load_stack(stack_folder).array("change_mask")
    folders = []
    for number, generator in enumerate(GENERATORS):
        rng = np.random.default_rng([5, number])
        rows = [
            (f"sub-{patient:04d}", 2 * patient, 2 * patient + 1, place, generator)
            for patient in range(number, PATIENTS)
            for place in CHANGED
        ]
        columns = ["baseline_subject", "baseline_row", "follow_up_row", "slice", "generator"]
        manifest = pd.DataFrame(rows, columns=columns)
        masks = np.stack([changes[row, place] > 0 for row, place in manifest[["follow_up_row", "slice"]].to_numpy()])
        sampled = rng.uniform(-0.5, 0.9, masks.shape).astype(np.float32)
        folders.append(folder / generator)
        save_shard(folders[-1], manifest, follow_up=sampled, change_mask=masks)
    return folders
