"""What figures show of forecasts: the sampled masks of a purpose, with what was read out of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.forecasting import MASK_ARRAY
from msdiff.lists import read_results
from msdiff.sampling.shards import Shard, load_shard

PROBABILITY = "probability.npy"


class Forecasts(NamedTuple):
    """The forecasts of a purpose.

    patients     one row per patient and arm: what all draws together say, and the truth where the arm is the patient's
    draws        one row per draw: lesions counted
    shards       the sampled masks; none where only scores are shown
    probability  (row of `patients`, z, y, x), share of draws with a lesion at a voxel; None where it was not kept
    """

    patients: pd.DataFrame
    draws: pd.DataFrame
    shards: Sequence[Shard]
    probability: NDArray[np.floating] | None


def read_forecasts(scores: str | Path, shards: Iterable[str | Path] = ()) -> Forecasts:
    """Read a folder of scores and the shards of the same purpose; BadInput where one cannot be read."""
    scores = Path(scores)
    probability = scores / PROBABILITY
    return Forecasts(
        read_results(scores / "patients.tsv", ["subject", "arm", "own_arm", "draws", "true_count"]),
        read_results(scores / "draws.tsv", ["subject", "arm", "draw", "count"]),
        [load_shard(folder) for folder in shards],
        np.load(probability, mmap_mode="r") if probability.is_file() else None,
    )


def sampled_masks(forecasts: Forecasts, subject: str, arm: str) -> NDArray[np.bool_]:
    """All sampled masks (draw, z, y, x) of a patient under an arm; BadInput where no shard holds them."""
    for shard in forecasts.shards:
        same = ((shard.manifest["subject"] == subject) & (shard.manifest["arm"] == arm)).to_numpy()
        if same.any():
            return shard.read(MASK_ARRAY, int(np.argmax(same)))
    raise BadInput(
        f"forecasts of {subject} under {arm}: in none of the shards; sample the forecasts and score them again"
    )


def own_arm(forecasts: Forecasts) -> pd.DataFrame:
    """The patients under their own arm, whose outcome is known, in the order of their names."""
    patients = forecasts.patients
    return patients[patients["arm"] == patients["own_arm"]].sort_values("subject", kind="stable")


def shown_patients(forecasts: Forecasts, arms: Sequence[str], n: int) -> pd.DataFrame:
    """Up to n patients to show, chosen by their true outcome alone: active ones by arm, and one without a new lesion.

    Of each arm, in the given order, the active patient with the median number of new lesions (the lower of two), then
    those next to it; the last row is a patient without one, of the last arm that has such. Among equals the first name.
    """
    known = own_arm(forecasts)
    active = known[known["true_count"] > 0]
    quiet = known[known["true_count"] == 0]
    ranked: list[tuple[int, int, int]] = []
    for place, arm in enumerate(arms):
        of_arm = active[active["arm"] == arm].sort_values(["true_count", "subject"], kind="stable")
        middle = (len(of_arm) - 1) // 2
        nearest = np.argsort(np.abs(np.arange(len(of_arm)) - middle), kind="stable")
        ranked += [(turn, place, int(index)) for turn, index in enumerate(of_arm.index[nearest])]
    chosen = [index for _, _, index in sorted(ranked)]
    calm = [index for arm in reversed(arms) for index in quiet.index[quiet["arm"] == arm]][:1]
    n_active = n - len(calm) if n > 1 else n
    kept = known.loc[chosen[:n_active]]
    # By efficacy, whatever turn they were chosen in.
    kept = kept.sort_values("arm", key=lambda names: names.map(list(arms).index), kind="stable")
    return pd.concat([kept, known.loc[calm[: n - len(kept)]]])


def lesion_counts(forecasts: Forecasts, subject: str, arm: str) -> NDArray[np.int64]:
    """Lesions counted in each draw of a patient under an arm, in the order of the draws."""
    draws = forecasts.draws
    rows = draws[(draws["subject"] == subject) & (draws["arm"] == arm)].sort_values("draw")
    return np.asarray(rows["count"], dtype=np.int64)
