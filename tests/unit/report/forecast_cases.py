"""Small slabs and forecasts of them, as the commands write them: what figures and pages of forecasts are tested on."""

import json

import numpy as np
import pandas as pd
from indexed import write_patients

from msdiff.sampling.shards import save_shard

SHAPE = (48, 56, 5)
SESSIONS = ["w000", "w048", "w096"]
ARMS = ["placebo", "mild_efficacy", "high_efficacy"]
# Patients: arm, and new lesions at the last session.
PATIENTS = [
    *(("placebo", n) for n in (3, 1, 2)),
    *(("mild_efficacy", n) for n in (1, 0)),
    *(("high_efficacy", n) for n in (0, 0)),
]
CENTRES = [(2, 36, 15), (2, 20, 32), (3, 24, 14)]
DRAWS = 8


def ball(z, y, x, radius=3):
    at = np.indices(SHAPE[::-1])
    return (2 * (at[0] - z)) ** 2 + (at[1] - y) ** 2 + (at[2] - x) ** 2 <= radius**2


def brain_of(number):
    _, y, x = np.indices(SHAPE[::-1])
    return ((y - 28) / (23 + number % 3)) ** 2 + ((x - 23.5) / 18) ** 2 < 1


def lesions(n):
    return np.any([np.zeros(SHAPE[::-1], dtype=bool), *(ball(*centre) for centre in CENTRES[:n])], axis=0)


def write_slabs(folder):
    folder.mkdir()
    channels, rows = [], []
    brains = np.stack([brain_of(number) for number in range(len(PATIENTS))])
    truths = np.stack([lesions(n) for _, n in PATIENTS])
    rng = np.random.default_rng(3)
    for number, (arm, n) in enumerate(PATIENTS):
        _, y, _ = np.indices(SHAPE[::-1])
        # The front is brighter: an image upside down would be seen. Patients differ in brightness.
        image = np.clip(0.1 * number + 0.008 * (y - 28) + rng.normal(0, 0.04, SHAPE[::-1]), -1, 1)
        image[~brains[number]] = -1
        channels.append([image] * len(SESSIONS))
        rows.append((number, f"sub-{number + 1:04d}", arm, "test", 0, n, int(n > 0), 0))
    np.save(folder / "channels.npy", np.asarray(channels, dtype=np.float16))
    np.save(folder / "net2.npy", truths.astype(np.uint8))
    np.save(folder / "brain_mask.npy", brains.astype(np.uint8))
    names = ["row", "subject", "arm", "split", "count_before", "count", "cerebral_white_matter", "cerebral_cortex"]
    write_patients(folder, pd.DataFrame(rows, columns=names))
    description = {
        "shape": SHAPE, "affine": np.diag([3.0, 3.0, 6.0, 1.0]).tolist(), "sessions": SESSIONS,
        "channels": [f"flair@{session}" for session in SESSIONS], "arms": ARMS,
    }  # fmt: skip
    (folder / "slab.json").write_text(json.dumps(description))


def write_forecasts(folder, every_arm, with_probability):
    """Scores and two shards; of later arms fewer draws are active, and each draw lies a voxel beside the truth."""
    rows, masks = [], []
    for number, (own, n) in enumerate(PATIENTS):
        for place, arm in enumerate(ARMS):
            if not every_arm and arm != own:
                continue
            sampled = np.zeros((DRAWS, *SHAPE[::-1]), dtype=bool)
            for draw in range(max(0, DRAWS - 3 * place)):
                sampled[draw] = np.roll(lesions(max(n, 1)), draw % 3 - 1, axis=-1)
            masks.append(sampled)
            rows.append((number, f"sub-{number + 1:04d}", arm, own, max(n, 1), n if arm == own else np.nan))
    names = ["row", "subject", "arm", "own_arm", "lesions_found", "true_count"]
    table = pd.DataFrame(rows, columns=names).assign(
        split="test", draws=DRAWS, weights_sha256="a" * 64, model="two_sessions", sampler="ddim", steps=10,
        guidance_weight=1.0,
    )  # fmt: skip
    for shard in range(2):
        part = table.iloc[shard::2].drop(columns=["lesions_found", "true_count"])
        save_shard(folder / "shards" / f"{shard:03d}", part, masks=np.stack(masks[shard::2]))
    (folder / "scores").mkdir()
    table.drop(columns=["row"]).to_csv(folder / "scores" / "patients.tsv", sep="\t", index=False)
    draws = [
        (row.subject, row.arm, row.own_arm, draw, row.lesions_found if mask.any() else 0)
        for row, sampled in zip(table.itertuples(), masks, strict=True)
        for draw, mask in enumerate(sampled)
    ]
    names = ["subject", "arm", "own_arm", "draw", "count"]
    pd.DataFrame(draws, columns=names).to_csv(folder / "scores" / "draws.tsv", sep="\t", index=False)
    if with_probability:
        np.save(folder / "scores" / "probability.npy", np.mean(masks, axis=1).astype(np.float16))
