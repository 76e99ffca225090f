"""Pairs of a baseline and a follow-up: consecutive sessions of a patient."""

from itertools import pairwise
from typing import Annotated

import pandas as pd
from pydantic import Field

from msdiff.errors import BadInput
from msdiff.settings import Settings

COLUMNS = ("subject", "arm", "baseline_session", "follow_up_session", "interval_days")


class PairSettings(Settings):
    """Which intervals make a pair, both limits included."""

    minimum_days: Annotated[int, Field(ge=1)]
    maximum_days: Annotated[int, Field(ge=1)]


def pair_scans(scans: pd.DataFrame, settings: PairSettings) -> pd.DataFrame:
    """One row per pair of consecutive scans whose interval lies within the limits, with COLUMNS.

    Raises BadInput where no pair is left, or where a pair has neither a change mask nor lesion masks of both sessions.
    """
    rows = []
    for subject, of_patient in scans.groupby("subject", sort=True):
        ordered = of_patient.sort_values("session").to_dict("records")
        for baseline, follow_up in pairwise(ordered):
            interval = follow_up["days"] - baseline["days"]
            if not settings.minimum_days <= interval <= settings.maximum_days:
                continue
            if not follow_up["change_mask"] and not (follow_up["lesion_mask"] and baseline["lesion_mask"]):
                raise BadInput(
                    f"{subject} {follow_up['session']}: expected a change_mask, or a lesion_mask here and at "
                    f"{baseline['session']}; add one to the sheet, or exclude the scan"
                )
            rows.append((subject, follow_up["arm"], baseline["session"], follow_up["session"], interval))
    if not scans["subject"].duplicated().any():
        raise BadInput(
            f"pairs: expected patients with a follow-up, got {len(scans)} patients with one session each; one session "
            "can be preprocessed and parcellated, but makes no pair"
        )
    if not rows:
        raise BadInput(
            f"pairs: expected consecutive scans {settings.minimum_days} to {settings.maximum_days} days apart, "
            "got none; widen the limits or check the days of the sheet"
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))
