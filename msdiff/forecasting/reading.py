"""What the two stages read of slabs: the patients to train on, their sampled channels, masks, arms and images."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdiff.errors import BadInput, BadSettings
from msdiff.forecasting.slabs import NET2, Slabs


def training_patients(slabs: Slabs) -> pd.DataFrame:
    """The rows of split train; BadInput where there are none, or none with a lesion to learn."""
    patients = slabs.patients[slabs.patients["split"] == "train"].reset_index(drop=True)
    if not (patients["count"] > 0).any():
        raise BadInput(
            f"{slabs.folder}: expected patients of split train, one of them with a NET2 lesion in the last session, "
            f"got {len(patients)} without; correct splits and masks of the scan sheet"
        )
    return patients


def generated_channels(slabs: Slabs, generates: Sequence[str]) -> list[str]:
    """The channels that are sampled: those names at the last session."""
    return [f"{name}@{slabs.sessions[-1]}" for name in generates]


def given_channels(slabs: Slabs, sessions: Sequence[str]) -> list[str]:
    """The channels of some sessions, which a model is given; BadInput where a session has none.

    BadSettings where one of them is the last session, whose lesions are to be forecast.
    """
    if slabs.sessions[-1] in sessions:
        raise BadSettings(
            f"model.sessions: expected sessions before {slabs.sessions[-1]}, the one that is forecast, got "
            f"{', '.join(sessions)}"
        )
    found = [channel for channel in slabs.channels if channel.split("@")[1] in sessions]
    missing = [session for session in sessions if not any(channel.endswith(f"@{session}") for channel in found)]
    if missing:
        raise BadInput(f"{slabs.folder}: expected channels of session {missing[0]}, got {', '.join(slabs.channels)}")
    return found


class Reader:
    """Reads patients' sampled channels `x`, masks `lesions`, arms; and `images`, where names of channels are given."""

    def __init__(
        self, slabs: Slabs, patients: pd.DataFrame, generated: Sequence[str], given: Sequence[str] = (), flip: float = 0
    ) -> None:
        self.rows = patients["row"].to_numpy()
        self.arms = np.array([slabs.arms.index(arm) for arm in patients["arm"]])
        self.channels, self.masks = slabs.array("channels"), slabs.array(NET2)
        self.generated, self.given = slabs.places(*generated), slabs.places(*given)
        self.flip = flip

    def __call__(self, indices: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
        """Of chosen patients (B,): x (B, C, z, y, x), lesions (B, 1, z, y, x), arm (B,), images (B, K, z, y, x)."""
        rows = self.rows[indices]
        flips = generator.random(len(indices)) < self.flip

        def tensor(slabs: list[NDArray[np.generic]]) -> Tensor:
            array = np.stack(slabs).astype(np.float32)
            array[flips] = array[flips][..., ::-1]
            return torch.from_numpy(array)

        def read(places: list[int]) -> Tensor:
            return tensor([np.stack([self.channels[row, place] for place in places]) for row in rows])

        batch = {
            "x": read(self.generated),
            "lesions": tensor([self.masks[row][None] for row in rows]),
            "arm": torch.from_numpy(self.arms[indices]),
        }
        return batch | ({"images": read(self.given)} if self.given else {})
