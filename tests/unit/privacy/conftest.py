"""A stack of many small phantom patients, and generators that copy, blur or invent on purpose."""

import json

import numpy as np
import pandas as pd
import pytest
from indexed import open_stack, write_lists
from scipy import ndimage

from msdiff.sampling.shards import save_shard
from msdiff.settings import check

SIZE, LEVELS = 32, 4
SPLITS = ["train"] * 24 + ["validation"] * 40 + ["test"] * 40

EMBEDDING = {
    "seed": 0,
    "slices": {"contrast": "flair", "side": 16, "minimum_overlap": 0.5},
    "network": {"patch": 2, "widths": [32, 64], "norm_groups": 4, "numbers": 32},
    "temperature": 0.1,
    "variants": {
        "outline": 0.5,
        "rotation_degrees": 5.0,
        "shift": 0.05,
        "scale": 0.05,
        "flip": 0.5,
        "blur": 1.0,
        "noise": 0.3,
        "power": 0.3,
    },
    "training": {
        "steps": 150,
        "batch_size": 48,
        "micro_batches": 1,
        "learning_rate": 0.005,
        "weight_decay": 0.01,
        "warm_up_steps": 10,
        "decay": "cosine",
        "ema_decay": 0.0,
        "clip_norm": 1.0,
        "precision": "fp32",
        "log_every": 20,
        "checkpoint_every": 150,
        "validate_every": 0,
        "keep": "last",
    },
}


def anatomy(patient):
    """A patient's brain (level, y, x): what all have in common, and folds that are the patient's own; and its mask."""
    level, y, x = np.indices((LEVELS, SIZE, SIZE))
    own = np.random.default_rng([6, patient]).uniform(-0.8, 0.8, 2)
    brain = ((y - 15.5) / (13 + own[0] - level)) ** 2 + ((x - 15.5) / (11 + own[1] - level)) ** 2 < 1
    common = 0.4 * np.cos((y - 15.5) / 4) * np.cos((x - 15.5) / 4)
    folds = ndimage.gaussian_filter(np.random.default_rng([7, patient]).normal(size=brain.shape), (0.5, 1.5, 1.5))
    return common + 0.25 * folds / folds.std(), brain


def acquired(patient, session):
    """A scan of a patient: the anatomy and noise of its own, in [-1, 1], -1 outside the brain."""
    image, brain = anatomy(patient)
    image = image + np.random.default_rng([8, patient, session]).normal(0, 0.05, image.shape)
    return np.where(brain, np.clip(image, -1, 1), -1).astype(np.float16), brain


def simulate_stack(folder):
    folder.mkdir()
    images, brains, scans, slices = [], [], [], []
    for pair, split in enumerate(SPLITS):
        subject = f"sub-{pair + 1:04d}"
        for session in range(2):
            image, brain = acquired(pair, session)
            images.append(image)
            brains.append(brain)
            scans.append({"row": 2 * pair + session, "subject": subject, "session": f"ses-{session}", "split": split})
        for level in range(LEVELS):
            row = {"pair": pair, "subject": subject, "split": split, "baseline_row": 2 * pair}
            row |= {"follow_up_row": 2 * pair + 1, "slice": level, "brain_voxels": int(brain[level].sum())}
            row |= {"scan_change_mm3": 10.0 + pair, "scan_change_count": 1 + pair % 3}
            slices.append(row | {"change_voxels": 5, "slice_change_mm3": 5.0, "slice_change_count": 1})
    np.save(folder / "flair.npy", np.stack(images))
    np.save(folder / "brain_mask.npy", np.stack(brains).astype(np.uint8))
    write_lists(folder, scans, slices)
    (folder / "grid.json").write_text(json.dumps({"shape": [SIZE, SIZE, LEVELS], "affine": np.eye(4).tolist()}))
    return open_stack(folder)


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    return simulate_stack(tmp_path_factory.mktemp("privacy") / "stack")


@pytest.fixture(scope="session")
def acquire():
    """A function of patient and session: a scan and its brain mask (level, y, x)."""
    return acquired


@pytest.fixture
def own_stack(tmp_path):
    """A stack that a test may spoil."""
    return simulate_stack(tmp_path / "stack")


def manifest_of(stack, n):
    """Rows of n samples: baselines of the training patients in turn, each with the next patient's mask."""
    slices = stack.slices[stack.slices["split"] == "train"].reset_index(drop=True)
    baseline = slices.iloc[np.arange(n) % len(slices)].reset_index(drop=True)
    donor = slices.iloc[(np.arange(n) + LEVELS) % len(slices)].reset_index(drop=True)
    return pd.DataFrame(
        {
            "sample": np.arange(n),
            "baseline_subject": baseline["subject"],
            "baseline_row": baseline["baseline_row"],
            "slice": baseline["slice"],
            "mask_subject": donor["subject"],
            "mask_row": donor["follow_up_row"],
            "mask_slice": donor["slice"],
            "follow_up_row": -1,
            "change_mm3": donor["scan_change_mm3"],
            "change_count": donor["scan_change_count"],
            "scalars": "scan",
            "contrast": "flair",
        }
    )


@pytest.fixture(scope="session")
def make_manifest():
    """A function of a stack and a number: the rows of so many samples."""
    return manifest_of


@pytest.fixture(scope="session")
def in_brain(stack):
    """A function: a slice (y, x) as a generator gives it, -1 outside the brain of the row's baseline."""
    brains = stack.array("brain_mask")
    return lambda row, image: np.where(brains[row["baseline_row"], row["slice"]] > 0, image, -1)


@pytest.fixture(scope="session")
def sample(stack, tmp_path_factory):
    """A function: the folder of a shard whose follow-up of each manifest row is `image(row)`."""

    def shard(image, n=384, **columns):
        manifest = manifest_of(stack, n).assign(**columns)
        follow_ups = np.stack([np.asarray(image(row), dtype=np.float32) for row in manifest.to_dict("records")])
        folder = tmp_path_factory.mktemp("shard") / "000"
        save_shard(folder, manifest, follow_up=follow_ups, change_mask=np.zeros(follow_ups.shape, dtype=bool))
        return folder

    return shard


@pytest.fixture(scope="session")
def embedding_settings():
    from msdiff.privacy.embedding import EmbeddingSettings

    return check(EmbeddingSettings, EMBEDDING)


@pytest.fixture(scope="session")
def embedding_path(stack, embedding_settings, tmp_path_factory):
    """Weights of an embedding trained for a second or two."""
    from msdiff.networks.weights import save_weights
    from msdiff.privacy.embedding import train_embedding

    folder = tmp_path_factory.mktemp("embedding")
    trained = train_embedding(stack, embedding_settings, checkpoints=folder / "checkpoints", minutes=None, device="cpu")
    save_weights(trained.tensors, trained.description, folder / "weights.safetensors")
    return folder / "weights.safetensors"


@pytest.fixture(scope="session")
def embedding(embedding_path):
    import torch

    from msdiff.privacy.embedding import Embedding

    return Embedding(embedding_path, torch.device("cpu"))
