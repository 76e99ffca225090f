"""Sample a plan's follow-ups. Outside the baseline's brain a follow-up is -1, as every normalised scan is.

    follow_up       images in [-1, 1]
    change_mask     the change that was asked for

Columns of a plan: sample (number), seed, baseline_subject, baseline_row, slice, mask_subject, mask_row, mask_slice,
follow_up_row (the true follow-up in a stack's arrays, -1 where there is none), change_mm3, change_count, change_flag
(the scalars that condition the sample), and more (plan.py). The manifest of a shard adds generator,
weights_sha256, contrast, sampler, steps, guidance_weight and msdiff_version.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdiff import __version__
from msdiff.diffusion.sampler import SamplerSettings
from msdiff.errors import BadInput
from msdiff.images import BACKGROUND
from msdiff.lists import read_list
from msdiff.networks.compiled import When
from msdiff.networks.weights import load_weights_of, sha256
from msdiff.sampling.shard import Sampling
from msdiff.sampling.shards import Items
from msdiff.stack.reading import WHOLE, Stack
from msdiff.synthesis import check_name, generator_of
from msdiff.synthesis.placement import Placer
from msdiff.synthesis.plan import COLUMNS, SCALARS


def read_plan(path: str | Path) -> pd.DataFrame:
    """A plan's rows; BadInput where the file is not one."""
    return read_list(path, COLUMNS, "a plan of samples", "make it by plan-samples")


class FollowUpBatch(NamedTuple):
    """What a batch is sampled from: baselines and brains (B, y, x), masks (B, y, x), scalars (B, 3) and seeds."""

    baseline: NDArray[np.float32]
    brain: NDArray[np.bool_]
    change_mask: NDArray[np.bool_]
    scalars: NDArray[np.float64]
    seeds: list[int]


def samples_of(
    stack: Stack,
    plan: pd.DataFrame,
    weights: str | Path,
    settings: SamplerSettings,
    device: torch.device,
    compile_when: When = "never",
    name: str | None = None,
    module: str | None = None,
) -> Sampling[FollowUpBatch]:
    """The samples of a plan, for `sample_shard`; of the generator `name`, one's own in `module`.

    Raises BadInput where the weights are no generator's, or not those of the one asked for (one of msdiff's own, where
    none was), or where the plan has other items, or describes other scalars, than it was trained with.
    """
    tensors, description = load_weights_of("generator", weights)
    made_by = check_name(description, name, weights)
    _check_scalars(plan, description["settings"]["scalars"], weights)
    follow_ups = generator_of(made_by, module).sample(tensors, description, device, compile_when)
    contrast = description["settings"]["contrast"]
    volumes = _are_volumes(plan, description, weights)
    shape = stack.grid.shape[::-1] if volumes else stack.grid.shape[1::-1]

    def sample(batch: FollowUpBatch) -> Tensor:
        sampled: Tensor = follow_ups(
            torch.from_numpy(batch.baseline)[:, None],
            torch.from_numpy(batch.change_mask.astype(np.float32))[:, None],
            torch.from_numpy(batch.scalars),
            batch.seeds,
            settings,
        )
        return sampled[:, 0]

    def finish(batch: FollowUpBatch, sampled: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        return {
            "follow_up": np.where(batch.brain, sampled.clip(-1, 1), BACKGROUND),
            "change_mask": batch.change_mask,
        }

    return Sampling(
        rows=plan.assign(
            generator=made_by,
            weights_sha256=sha256(weights),
            contrast=contrast,
            sampler=settings.sampler.backend,
            steps=settings.steps,
            guidance_weight=settings.guidance_weight,
            msdiff_version=__version__,
        ),
        items={"follow_up": Items("scaled", shape), "change_mask": Items("bits", shape)},
        read=partial(_read, stack, Placer(stack), contrast),
        sample=sample,
        finish=finish,
    )


def _read(stack: Stack, placer: Placer, contrast: str, rows: pd.DataFrame) -> FollowUpBatch:
    baselines = rows["baseline_row"], rows["slice"]
    return FollowUpBatch(
        baseline=stack.read(contrast, *baselines).astype(np.float32),
        brain=stack.read("brain_mask", *baselines) > 0,
        change_mask=np.stack([placer.mask(row) for row in rows.to_dict("records")]),
        scalars=rows[list(SCALARS)].to_numpy(np.float64),
        seeds=[int(seed) for seed in rows["seed"]],
    )


def _check_scalars(plan: pd.DataFrame, trained: str, weights: str | Path) -> None:
    """BadInput where the plan's scalars are of another unit than those of the training."""
    others = sorted(set(plan["scalars"]) - {trained})
    if others:
        raise BadInput(
            f"{weights}: expected a plan with scalars of the {trained}, as in training, got those of the {others[0]}; "
            f"set plan.scalars to {trained} and plan again"
        )


def _are_volumes(plan: pd.DataFrame, description: dict[str, Any], weights: str | Path) -> bool:
    """Whether the plan's samples are whole volumes; BadInput where they are not what the generator samples."""
    item = description.get("item", "slice")
    if ((plan["slice"] == WHOLE) != (item == "volume")).any():
        raise BadInput(
            f"{weights}: expected a plan of {item}s, which this generator samples, got one of other items; plan again "
            f"with --item {item}"
        )
    return bool(item == "volume")
