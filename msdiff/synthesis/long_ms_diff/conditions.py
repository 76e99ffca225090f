"""What a follow-up is sampled from: the baseline, the mask of what changes, and three scalars of that change.

The scalars are the volume (load) and the number of the new lesions, and a flag that there are any. Volume and number
enter as log(1 + value), held within the range of the training split and brought to its mean 0 and standard deviation 1;
sampling needs the same numbers, so they are stored with the weights. Each scalar fills a channel of the image's
size (Mathur et al. 2025, section 2: "spatially broadcast and concatenated").
"""

from collections.abc import Collection
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdiff.synthesis.plan import SCALARS, Unit, scalars_of

Condition = Literal["baseline", "change_mask", "scalars"]
# Baseline, change mask and the scalars.
CHANNELS = 2 + len(SCALARS)

Statistics = dict[str, dict[str, float]]


def statistics_of(slices: pd.DataFrame, unit: Unit) -> Statistics:
    """Mean, standard deviation and range of log(1 + value) over the scan pairs, or slices, of a table of slices."""
    units = slices.drop_duplicates("pair") if unit == "scan" else slices
    logs = np.log1p(scalars_of(units, unit)[:, :2])
    # The deviation of a few may be small by chance, and spread apart what hardly differs: the network would know each
    # by its scalars, and nobody else. So that of n is a log unit over the root of n at least.
    deviations = [max(float(deviation), len(units) ** -0.5) for deviation in logs.std(axis=0)]
    return {
        name: {
            "mean": float(column.mean()),
            "deviation": deviation,
            "smallest": float(column.min()),
            "largest": float(column.max()),
        }
        for name, column, deviation in zip(SCALARS, logs.T, deviations, strict=False)
    }


def continued(before: Statistics, here: Statistics) -> Statistics:
    """Statistics of a training that starts from another one's weights.

    Mean and deviation stay those of before: the same volume must be the same number to the network, or what it has
    learnt of volumes is void. The range holds what it saw before and sees here.
    """
    return {
        name: before[name]
        | {
            "smallest": min(before[name]["smallest"], here[name]["smallest"]),
            "largest": max(before[name]["largest"], here[name]["largest"]),
        }
        for name in before
    }


def standardised(scalars: NDArray[np.float64], statistics: Statistics) -> NDArray[np.float32]:
    """Scalars (sample, 3) as the network sees them; what lies beyond all of training is taken as its nearest value.

    Beyond them the network has seen nothing, and may sample noise.
    """
    values = np.array(scalars, dtype=np.float64)
    for column, name in enumerate(SCALARS[:2]):
        of_train = statistics[name]
        logs = np.clip(np.log1p(values[:, column]), of_train["smallest"], of_train["largest"])
        values[:, column] = (logs - of_train["mean"]) / of_train["deviation"]
    return values.astype(np.float32)


def channels(baseline: Tensor, change_mask: Tensor, scalars: Tensor, given: Collection[Condition]) -> Tensor:
    """Condition (B, 5, H, W) from baseline and mask (B, 1, H, W) and standardised scalars (B, 3).

    What is not `given` is zeros, so that a network without a condition has the size of one with it.
    """
    planes = scalars[:, :, None, None].expand(-1, -1, *baseline.shape[-2:])
    parts: dict[Condition, Tensor] = {"baseline": baseline, "change_mask": change_mask, "scalars": planes}
    shown = [part if name in given else torch.zeros_like(part) for name, part in parts.items()]
    return torch.cat(shown, dim=1)
