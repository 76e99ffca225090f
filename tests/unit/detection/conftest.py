"""A small stack of simulated brains with lesions, and shards of synthetic follow-ups on it."""

import json

import numpy as np
import pandas as pd
import pytest
from indexed import open_stack, write_lists
from scipy import ndimage

from msdiff.sampling.shards import save_shard
from msdiff.stack.reading import Stack

SHAPE = (10, 64, 64)  # z, y, x
SPACING_MM = (3.0, 3.0, 6.0)  # x, y, z
SPLITS = ["train"] * 8 + ["validation"] * 2 + ["test"] * 4


def blobs(rng, where, count):
    """A mask with some blobs of two or three voxels across inside `where`."""
    mask = np.zeros(SHAPE, dtype=bool)
    for place in rng.choice(np.argwhere(where), count, replace=False):
        z, y, x = np.indices(SHAPE) - place[:, None, None, None]
        mask |= (3 * z**2 + y**2 + x**2 <= rng.uniform(2, 9)) & where
    return mask


def simulate_patient(rng, new_lesions):
    """Baseline and follow-up in [-1, 1], brain, old lesions and new ones."""
    z, y, x = ((np.indices(SHAPE).T - (np.array(SHAPE) - 1) / 2) / (np.array(SHAPE) / 2)).T
    radius = x**2 / 0.8 + y**2 / 0.7 + 0.7 * z**2
    brain, white = radius < 1, radius < 0.6
    tissue = -0.2 + 0.15 * ndimage.gaussian_filter(rng.normal(size=SHAPE), 2) * 5
    old = blobs(rng, white, 4)
    new = blobs(rng, white & ~ndimage.binary_dilation(old, iterations=2), new_lesions)
    dates = []
    for lesions in (old, old | new):
        image = tissue + 0.6 * ndimage.gaussian_filter(lesions.astype(float), 0.4) + rng.normal(0, 0.05, SHAPE)
        dates.append(np.where(brain, np.clip(image, -1, 1), -1))
    return *dates, brain, old, new


@pytest.fixture(scope="session")
def stack(tmp_path_factory) -> Stack:
    folder = tmp_path_factory.mktemp("stack")
    rng = np.random.default_rng(11)
    arrays = {name: [] for name in ("flair", "brain_mask", "lesion_mask", "change_mask")}
    scans, slices = [], []
    for number, split in enumerate(SPLITS):
        subject = f"sub-{number:04d}"
        # The last test patient has no new lesion.
        baseline, follow_up, brain, old, new = simulate_patient(rng, 0 if number == len(SPLITS) - 1 else 4)
        for session, image, lesions, change in (
            ("w000", baseline, old, new & False),
            ("w048", follow_up, old | new, new),
        ):
            scans.append({"row": len(scans), "subject": subject, "session": f"ses-{session}", "split": split})
            for name, values in zip(arrays, (image, brain, lesions, change), strict=True):
                arrays[name].append(values)
        for level in np.flatnonzero(brain.any(axis=(1, 2))):
            slices.append(
                {
                    "pair": number,
                    "subject": subject,
                    "split": split,
                    "baseline_session": "ses-w000",
                    "follow_up_session": "ses-w048",
                    "baseline_row": 2 * number,
                    "follow_up_row": 2 * number + 1,
                    "slice": level,
                    "brain_voxels": int(brain[level].sum()),
                    "change_voxels": int(new[level].sum()),
                }
            )
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", np.array(values, dtype=np.float16 if name == "flair" else np.uint8))
    affine = np.diag([*SPACING_MM, 1.0]).tolist()
    (folder / "grid.json").write_text(json.dumps({"shape": SHAPE[::-1], "affine": affine}))
    write_lists(folder, scans, slices)
    return open_stack(folder)


@pytest.fixture(scope="session")
def shards(stack, tmp_path_factory) -> list:
    """Two shards: per training slice two follow-ups, of which the first has change (a bright square)."""
    train = stack.slices[stack.slices["split"] == "train"]
    rng = np.random.default_rng(12)
    folders = []
    for number in range(2):
        images, masks, manifest = [], [], []
        for row in train.itertuples():
            image = np.array(stack.array("flair")[row.baseline_row, row.slice], dtype=np.float32)
            mask = np.zeros(image.shape, dtype=bool)
            if number == 0:
                y, x = rng.integers(24, 40, 2)
                mask[y : y + 3, x : x + 3] = True
            images.append(np.where(mask, 0.5, image))
            masks.append(mask)
            manifest.append(
                {
                    "sample": len(images),
                    "baseline_subject": row.subject,
                    "baseline_row": row.baseline_row,
                    "slice": row.slice,
                }
            )
        folder = tmp_path_factory.mktemp("shards") / f"{number:03d}"
        save_shard(folder, pd.DataFrame(manifest), follow_up=np.array(images), change_mask=np.array(masks))
        folders.append(folder)
    return folders
