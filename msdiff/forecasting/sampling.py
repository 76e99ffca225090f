"""Draw NET2 masks of patients under treatments, shard by shard.

Each draw has its own seed (msdiff.sampling.seeds), so that neither the number of shards nor the batch changes it. A
shard is written as msdiff.forecasting.shards reads it.
"""

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from pydantic import Field, NonNegativeInt
from tqdm import tqdm

from msdiff import __version__
from msdiff.diffusion.sampler import SamplerSettings
from msdiff.errors import BadInput
from msdiff.forecasting.forecaster import Forecaster
from msdiff.forecasting.options import DrawSettings
from msdiff.forecasting.plan import plan_forecasts, rows_of_shard
from msdiff.forecasting.slabs import Slabs
from msdiff.networks.batches import batches
from msdiff.sampling.seeds import seed_of_draw
from msdiff.settings import Settings
from msdiff.stack.writing import open_array
from msdiff.writing import whole_folder

log = logging.getLogger(__name__)


class SamplingSettings(Settings):
    """What the command `sample-forecasts` takes.

    seed                of the draws and of the choice of patients
    draws               of the purpose
    sampler             from noise to masks
    voxel_threshold     what a drawn value, on [0, 1], must reach to be a lesion's
    """

    seed: NonNegativeInt
    draws: DrawSettings
    sampler: SamplerSettings
    voxel_threshold: Annotated[float, Field(ge=0, le=1)]


def sample_shard(
    slabs: Slabs,
    forecaster: Forecaster,
    purpose: str,
    shard: int,
    shards: int,
    batch: int,
    settings: SamplingSettings,
    out: str | Path,
    of_one_size: bool = False,
) -> int:
    """Draw shard `shard` of `shards` to the folder `out`, `batch` draws at a time; the number of draws.

    A batch goes on from one row to the next. Only the last is smaller, and none where they are `of_one_size`, as an
    accelerator wants them. Raises BadInput where the weights do not go with the slabs or the purpose.
    """
    check_forecaster(slabs, forecaster, settings.draws.model)
    plan = plan_forecasts(slabs, settings.draws, settings.seed)
    _check_unseen(plan, forecaster)
    rows = rows_of_shard(plan, shard, shards)
    shape = slabs.grid.shape[::-1]
    places = {subject: place for place, subject in enumerate(slabs.patients["subject"])}
    channels, slab_channels = slabs.array("channels"), slabs.places(*forecaster.channels)
    brains = slabs.array("brain_mask")
    units = [(row, draw) for row in rows.itertuples() for draw in range(settings.draws.draws)]
    log.info("drawing %d masks of %d rows in %d steps", len(units), len(rows), settings.sampler.steps)
    with whole_folder(out) as folder, ExitStack() as files, tqdm(total=len(units), disable=None) as progress:
        table = rows.assign(**_origin(plan, forecaster, purpose, settings))
        table.to_csv(folder / "forecasts.tsv", sep="\t", index=False)
        packed_shape = (len(rows), settings.draws.draws, *shape[:2], -(-shape[2] // 8))
        masks = open_array(folder / "masks.npy", np.uint8, packed_shape, files)
        for numbers in batches(len(units), batch, of_one_size):
            part = [units[number] for number in numbers]
            at = [places[row.subject] for row, _ in part]
            read = {place: np.asarray(channels[place][slab_channels], dtype=np.float32) for place in set(at)}
            drawn = forecaster(
                torch.from_numpy(np.stack([read[place] for place in at])),
                torch.tensor([forecaster.arms.index(row.arm) for row, _ in part]),
                [
                    seed_of_draw(settings.seed, row.subject, None if settings.draws.shared_noise else row.arm, draw)
                    for row, draw in part
                ],
                settings.sampler,
            )
            lesions = (drawn.cpu().numpy() + 1) / 2 >= settings.voxel_threshold
            # The last batch may have been filled up by its end.
            new = len(set(numbers.tolist()))
            masks.write(np.packbits(lesions & brains[at].astype(np.bool_), axis=-1)[:new].tobytes())
            progress.update(new)
    return len(units)


def check_forecaster(slabs: Slabs, forecaster: Forecaster, model: str) -> None:
    """BadInput where weights are another model's, or were trained on slabs with other arms, channels or sizes."""
    trained = str(forecaster.description["model"])
    if trained != model:
        raise BadInput(
            f"{forecaster.path}: expected weights of the model {model}, got those of {trained}; give the other file"
        )
    faults = {
        "arms": (list(slabs.arms), list(forecaster.arms)),
        "size (z, y, x)": (list(slabs.grid.shape[::-1]), list(forecaster.shape)),
    }
    for name, (here, there) in faults.items():
        if here != there:
            raise BadInput(
                f"{slabs.folder}: expected slabs of the {name} {there}, as {forecaster.path} was trained on, got {here}"
                "; train on these slabs, or give the weights of this cohort"
            )
    slabs.places(*forecaster.channels)


def _check_unseen(plan: pd.DataFrame, forecaster: Forecaster) -> None:
    """BadInput where a held-out patient was trained on: the split has changed since."""
    held_out = set(plan.loc[plan["split"] != "train", "subject"])
    seen = sorted(held_out & set(forecaster.description["patients"]))
    if seen:
        raise BadInput(
            f"{forecaster.path}: expected weights that saw no patient of the split {plan['split'].iloc[0]}, got some "
            f"that were trained on {len(seen)} of them ({seen[0]} ...); train again with this split"
        )


def _origin(plan: pd.DataFrame, forecaster: Forecaster, purpose: str, settings: SamplingSettings) -> dict[str, object]:
    """Columns of forecasts.tsv that are the same in every row of every shard."""
    return {
        "rows": len(plan),
        "purpose": purpose,
        "draws": settings.draws.draws,
        "seed": settings.seed,
        "shared_noise": settings.draws.shared_noise,
        "voxel_threshold": settings.voxel_threshold,
        "model": settings.draws.model,
        "weights_sha256": forecaster.sha256,
        "sampler": settings.sampler.sampler.backend,
        "steps": settings.sampler.steps,
        "guidance_weight": settings.sampler.guidance_weight,
        "msdiff_version": __version__,
    }
