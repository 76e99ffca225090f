"""Draw a plan's samples, shard by shard.

Shard s of N holds rows s, s + N, s + 2 N ... of the plan. Each sample has its own seed, so that neither the number of
shards nor the batch changes it. Outside the baseline's brain a follow-up is -1, as every normalised scan is.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from msdiff import __version__
from msdiff.backends import load
from msdiff.diffusion.sampler import SamplerSettings
from msdiff.errors import BadInput
from msdiff.images import BACKGROUND
from msdiff.networks.batches import batches
from msdiff.networks.compiled import When
from msdiff.networks.weights import load_weights_of, sha256
from msdiff.sampling.pipeline import pipelined
from msdiff.sampling.shards import new_shard
from msdiff.stack.reading import Stack
from msdiff.synthesis import SAMPLE
from msdiff.synthesis.long_ms_diff.placement import Placer
from msdiff.synthesis.long_ms_diff.plan import COLUMNS

log = logging.getLogger(__name__)


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


class Batch(NamedTuple):
    """What a batch is drawn from: baselines and brains (B, y, x), masks (B, y, x), scalars (B, 3) and seeds."""

    baseline: NDArray[np.float32]
    brain: NDArray[np.bool_]
    change_mask: NDArray[np.bool_]
    scalars: NDArray[np.float64]
    seeds: list[int]


def sample_shard(
    stack: Stack,
    plan: pd.DataFrame,
    weights: str | Path,
    shard: int,
    shards: int,
    batch: int,
    settings: SamplerSettings,
    device: torch.device,
    out: str | Path,
    compile_when: When = "never",
) -> int:
    """Draw shard `shard` of `shards` to the folder `out`, at most `batch` samples at a time; the number of samples.

    The next batch is read and the one before is written while one is drawn; memory does not grow with the shard.

    Raises BadInput where the weights are no generator's, or the plan describes other scalars than it was trained with.
    """
    if not 0 <= shard < shards:
        raise BadInput(f"shard: expected a number from 0 to {shards - 1}, got {shard}")
    tensors, description = load_weights_of("generator", weights)
    trained = description["settings"]
    others = sorted(set(plan["scalars"]) - {trained["scalars"]})
    if others:
        raise BadInput(
            f"{weights}: expected a plan with scalars of the {trained['scalars']}, as in training, got those of the "
            f"{others[0]}; set plan.scalars to {trained['scalars']} and plan again"
        )
    rows = plan.iloc[shard::shards].reset_index(drop=True)
    manifest = rows.assign(
        generator=description["generator"],
        weights_sha256=sha256(weights),
        contrast=trained["contrast"],
        sampler=settings.sampler.backend,
        steps=settings.steps,
        guidance_weight=settings.guidance_weight,
        msdiff_version=__version__,
    )
    draw = load(SAMPLE, description["generator"])(tensors, description, device, compile_when)
    read = _Reader(stack, rows, trained["contrast"])
    log.info("drawing %d samples with %s in %d steps on %s", len(rows), weights, settings.steps, device)
    with (
        new_shard(out, manifest, *read.images.shape[2:]) as opened,
        tqdm(total=len(rows), disable=None) as progress,
    ):

        def compute(inputs: Batch) -> Callable[[], NDArray[np.float32]]:
            drawn = draw(
                torch.from_numpy(inputs.baseline)[:, None],
                torch.from_numpy(inputs.change_mask.astype(np.float32))[:, None],
                torch.from_numpy(inputs.scalars),
                inputs.seeds,
                settings,
            )
            return fetched(drawn[:, 0])

        def write(places: NDArray[np.int64], inputs: Batch, drawn: Callable[[], NDArray[np.float32]]) -> None:
            images = np.where(inputs.brain, drawn().clip(-1, 1), BACKGROUND)
            new = np.flatnonzero(np.diff(places, prepend=-1))
            opened.write(int(places[0]), images[new], inputs.change_mask[new])
            progress.update(len(new))

        pipelined(batches(len(rows), batch, of_one_size=device.type != "cpu"), read, compute, write)
    return len(rows)


def fetched(drawn: Tensor) -> Callable[[], NDArray[np.float32]]:
    """A copy of a tensor on the CPU, ordered now and waited for when it is asked for."""
    if drawn.device.type == "cpu":
        return drawn.numpy
    host = torch.empty(drawn.shape, dtype=drawn.dtype, pin_memory=True).copy_(drawn, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()

    def wait() -> NDArray[np.float32]:
        done.synchronize()
        return host.numpy()

    return wait


class _Reader:
    """Reads the batches of a shard from the stack."""

    def __init__(self, stack: Stack, rows: pd.DataFrame, contrast: str) -> None:
        self.rows = rows
        self.images, self.brains, self.placer = stack.array(contrast), stack.array("brain_mask"), Placer(stack)

    def __call__(self, places: NDArray[np.int64]) -> Batch:
        part = self.rows.iloc[places]
        slices = list(zip(part["baseline_row"], part["slice"], strict=True))
        return Batch(
            baseline=np.stack([self.images[row, number] for row, number in slices]).astype(np.float32),
            brain=np.stack([self.brains[row, number] for row, number in slices]) > 0,
            change_mask=np.stack([self.placer.mask(row) for row in part.to_dict("records")]),
            scalars=part[["change_mm3", "change_count", "change_flag"]].to_numpy(np.float64),
            seeds=[int(seed) for seed in part["seed"]],
        )
