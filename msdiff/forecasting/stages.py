"""What the trainings of both stages share: their loss, and the loading of weights."""

from pathlib import Path

import torch
from torch import Tensor, nn

from msdiff.diffusion.objective import Objective
from msdiff.errors import BadInput
from msdiff.forecasting.slabs import NET2
from msdiff.networks.compiled import Call

# Arrays of the slabs that trainings read.
ARRAYS = ("channels", NET2)


def denoising_loss(
    objective: Objective, predict: Call, x: Tensor, lesions: Tensor, rng: torch.Generator
) -> dict[str, Tensor]:
    """The loss, and the mean error of the prediction in all of the slab and in its lesions.

    Parameters
    ----------
    predict
        From noisy slabs (B, C, S, H, W) and logsnr (B,) to the network's raw output.
    x
        Slabs (B, C, S, H, W) in [-1, 1].
    lesions
        True masks (B, 1, S, H, W) of 0 and 1.
    """
    noised = objective.noised(x, rng, x.dtype)
    loss, error, lesion_error = objective.loss(predict(noised.z, noised.logsnr).float(), noised, lesions)
    return {"loss": loss, **objective.named(error, lesion_error)}


def fill(network: nn.Module, tensors: dict[str, Tensor], path: str | Path) -> None:
    """Put trained tensors into a network; BadInput where they are of other sizes."""
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInput(
            f"{path}: expected weights of the network that it describes, got others "
            f"({str(error).splitlines()[-1].strip()}); train it again"
        ) from error
