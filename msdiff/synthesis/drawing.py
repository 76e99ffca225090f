"""Draw a plan's samples, shard by shard.

Shard s of N holds rows s, s + N, s + 2 N ... of the plan. Each sample has its own seed, so that neither the number of
shards nor the batch changes it. Outside the baseline's brain a follow-up is -1, as every normalised scan is.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from msdiff import __version__
from msdiff.backends import load
from msdiff.cohort.samples import Shard
from msdiff.cohort.stacks import Stack
from msdiff.errors import BadInput
from msdiff.networks.weights import load_weights, sha256
from msdiff.synthesis import DRAW, SamplerSettings
from msdiff.synthesis.placement import Placer
from msdiff.synthesis.plan import COLUMNS

log = logging.getLogger(__name__)

# Background of a normalised scan.
OUTSIDE = -1.0


def read_plan(path: str | Path) -> pd.DataFrame:
    """A plan's rows; BadInput where the file is not one."""
    try:
        plan = pd.read_csv(path, sep="\t", keep_default_na=False)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: expected a plan of samples, cannot read it ({error})") from error
    missing = [column for column in COLUMNS if column not in plan]
    if missing:
        raise BadInput(f"{path}: expected a plan of samples, columns {', '.join(missing)} are missing")
    return plan


def draw_shard(
    stack: Stack,
    plan: pd.DataFrame,
    weights: str | Path,
    shard: int,
    shards: int,
    batch: int,
    settings: SamplerSettings,
    device: torch.device,
) -> Shard:
    """Draw shard `shard` of `shards`, `batch` samples at a time.

    Raises BadInput where the weights are no generator's, or the plan describes other scalars than it was trained with.
    """
    if not 0 <= shard < shards:
        raise BadInput(f"shard: expected a number from 0 to {shards - 1}, got {shard}")
    tensors, description = load_weights(weights)
    if description.get("kind") != "generator":
        raise BadInput(
            f"{weights}: expected a generator's weights, got those of a {description.get('kind', 'something else')!r}; "
            "give the weights that train-generator wrote"
        )
    trained = description["settings"]
    rows = plan.iloc[shard::shards].reset_index(drop=True)
    others = sorted(set(plan["scalars"]) - {trained["scalars"]})
    if others:
        raise BadInput(
            f"{weights}: expected a plan with scalars of the {trained['scalars']}, as in training, got those of the "
            f"{others[0]}; set plan.scalars to {trained['scalars']} and plan again"
        )
    draw = load(DRAW, description["generator"])(tensors, description, device)
    images, brains = stack.array(trained["contrast"]), stack.array("brain_mask")
    masks = _masks(stack, rows)
    shape = (len(rows), *images.shape[2:])
    follow_ups = np.empty(shape, dtype=np.float32)
    log.info("drawing %d samples with %s in %d steps on %s", len(rows), weights, settings.steps, device)
    for start in tqdm(range(0, len(rows), batch), disable=None):
        part = rows.iloc[start : start + batch]
        places = list(zip(part["baseline_row"], part["slice"], strict=True))
        baseline = np.stack([images[row, number] for row, number in places]).astype(np.float32)
        drawn = draw(
            torch.from_numpy(baseline)[:, None],
            torch.from_numpy(masks[start : start + batch].astype(np.float32))[:, None],
            torch.from_numpy(part[["change_mm3", "change_count", "change_flag"]].to_numpy(np.float64)),
            [int(seed) for seed in part["seed"]],
            settings,
        )
        brain = np.stack([brains[row, number] for row, number in places]) > 0
        follow_ups[start : start + batch] = np.where(brain, drawn[:, 0].numpy().clip(-1, 1), OUTSIDE)
    manifest = rows.assign(
        generator=description["generator"],
        weights_sha256=sha256(weights),
        sampler=settings.sampler.backend,
        steps=settings.steps,
        guidance_weight=settings.guidance_weight,
        msdiff_version=__version__,
    )
    return Shard(follow_ups, masks, manifest)


def _masks(stack: Stack, rows: pd.DataFrame) -> np.ndarray:
    """Change masks (sample, y, x): a patient's own as it is, a donor's as it was placed in planning."""
    placer = Placer(stack)
    masks = np.zeros((len(rows), *placer.changes.shape[2:]), dtype=bool)
    for place, row in enumerate(rows.to_dict("records")):
        masks[place] = placer.mask(row)
    return masks
