"""Sample NET2 masks of patients under treatments: a shard's rows are patients and arms, its items all their draws.

    masks       bits (draw, z, y, x), inside the brain

Columns of the manifest: row (number among those of all shards), subject, arm, own_arm, split, rows (in all shards
together), purpose, draws, seed, shared_noise, voxel_threshold, model, weights_sha256, sampler, steps, guidance_weight,
msdiff_version.
"""

from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt

from msdiff import __version__
from msdiff.diffusion.sampler import SamplerSettings
from msdiff.errors import BadInput
from msdiff.forecasting import MASK_ARRAY
from msdiff.forecasting.forecaster import Forecaster
from msdiff.forecasting.options import DrawSettings
from msdiff.forecasting.plan import plan_forecasts
from msdiff.forecasting.slabs import Slabs
from msdiff.sampling.seeds import seed_of_draw
from msdiff.sampling.shard import Sampling
from msdiff.sampling.shards import Items
from msdiff.settings import Settings


class SamplingSettings(Settings):
    """What the command `sample-forecasts` takes.

    seed                of the draws and of the choice of patients
    draws               of the purpose
    sampler             from noise to masks
    voxel_threshold     what a sampled value, on [0, 1], must reach to be a lesion's
    """

    seed: NonNegativeInt
    draws: DrawSettings
    sampler: SamplerSettings
    voxel_threshold: Annotated[float, Field(ge=0, le=1)]


class ForecastBatch(NamedTuple):
    """What a batch is sampled from: images (B, channel, z, y, x), brains (B, z, y, x), numbers of arms (B,), seeds."""

    images: NDArray[np.float32]
    brain: NDArray[np.bool_]
    arms: list[int]
    seeds: list[int]


def forecasts_of(
    slabs: Slabs, forecaster: Forecaster, purpose: str, settings: SamplingSettings
) -> Sampling[ForecastBatch]:
    """The forecasts of a purpose, for `sample_shard`.

    Raises BadInput where the weights do not go with the slabs or the purpose.
    """
    check_forecaster(slabs, forecaster, settings.draws.model)
    plan = plan_forecasts(slabs, settings.draws, settings.seed)
    _check_unseen(plan, forecaster)
    places = {subject: place for place, subject in enumerate(slabs.patients["subject"])}
    channels, slab_channels = slabs.array("channels"), slabs.places(*forecaster.channels)
    brains = slabs.array("brain_mask")

    def read(rows: pd.DataFrame) -> ForecastBatch:
        at = [places[subject] for subject in rows["subject"]]
        images = {place: np.asarray(channels[place][slab_channels], dtype=np.float32) for place in set(at)}
        return ForecastBatch(
            images=np.stack([images[place] for place in at]),
            brain=brains[at].astype(np.bool_),
            arms=[forecaster.arms.index(arm) for arm in rows["arm"]],
            seeds=[
                seed_of_draw(settings.seed, row.subject, None if settings.draws.shared_noise else row.arm, row.draw)
                for row in rows.itertuples()
            ],
        )

    def sample(batch: ForecastBatch) -> torch.Tensor:
        return forecaster(torch.from_numpy(batch.images), torch.tensor(batch.arms), batch.seeds, settings.sampler)

    def finish(batch: ForecastBatch, sampled: NDArray[np.float32]) -> dict[str, NDArray[np.bool_]]:
        return {MASK_ARRAY: ((sampled + 1) / 2 >= settings.voxel_threshold) & batch.brain}

    return Sampling(
        rows=plan.assign(**_origin(plan, forecaster, purpose, settings)),
        items={MASK_ARRAY: Items("bits", (settings.draws.draws, *slabs.grid.shape[::-1]))},
        read=read,
        sample=sample,
        finish=finish,
        draws=settings.draws.draws,
    )


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
    """Columns of the manifest that are the same in every row of every shard."""
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
