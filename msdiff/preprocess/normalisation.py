"""Normalisation: intensities of a patient to [-1, 1], measured on the baseline, so that change survives.

One line x -> slope x + intercept per contrast is found on the baseline's brain and serves every session. MR intensities
have no unit, and two visits differ by a gain that says nothing of the patient: with `gain` set to `median` each later
session is first multiplied so that the medians of the brain agree, which lesions of a few ml do not move; with `none`
it is left as it is. What leaves [-1, 1] is clipped; the options leave headroom, so that lesions are not.

A backend is a function `fit(values, contrast, options) -> slope, intercept`: the baseline's intensities in the brain
(N,), float32, the contrast's name, and its options; a slope of 0 says that it found no contrast to normalise by.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from msdiff import backends
from msdiff.errors import BadInput
from msdiff.images import BACKGROUND
from msdiff.preprocess.options import split
from msdiff.settings import Choice, Settings, check

BACKENDS = {
    "percentile": "msdiff.preprocess.normalisation:percentile",
    "zscore": "msdiff.preprocess.normalisation:zscore",
    "whitestripe": "msdiff.preprocess.whitestripe:fit",
}


class GainOptions(Settings):
    """How later sessions are brought to the baseline's gain, for every backend."""

    gain: Literal["median", "none"]


class PercentileOptions(Settings):
    """Two percentiles of the baseline's brain, and the values they are brought to."""

    low_percentile: float = Field(ge=0, le=100)
    high_percentile: float = Field(ge=0, le=100)
    low_value: float = Field(ge=-1, le=1)
    high_value: float = Field(ge=-1, le=1)


class ZscoreOptions(Settings):
    """The number of standard deviations about the mean that fill [-1, 1]."""

    deviations: float = Field(gt=0)


class Line(NamedTuple):
    """How a contrast was normalised: value = slope * gain * intensity + intercept, clipped to [-1, 1]."""

    slope: float
    intercept: float
    baseline_session: str
    gains: dict[str, float]
    clipped_fractions: dict[str, float]


def normalise(
    sessions: Mapping[str, NDArray[np.float32]], brain: NDArray[np.bool_], contrast: str, choice: Choice
) -> tuple[dict[str, NDArray[np.float32]], Line]:
    """One contrast's sessions (X, Y, Z), in order, to float32 in [-1, 1], -1 outside the brain.

    The first session is the baseline. Raises BadInput where a brain has no contrast to normalise by.
    """
    common, options = split(GainOptions, choice.options, "normalisation")
    baseline_session = next(iter(sessions))
    values = {session: data[brain] for session, data in sessions.items()}
    baseline = values[baseline_session]
    slope, intercept = backends.load(BACKENDS, choice.backend)(baseline, contrast, options)
    if not (np.isfinite([slope, intercept]).all() and slope > 0):
        raise BadInput(
            f"{baseline_session}: expected intensities that differ inside the brain, got one value; exclude it"
        )
    gains, clipped, normalised = {}, {}, {}
    for session, inside in values.items():
        ratio = (
            1.0
            if common.gain == "none"
            else float(np.median(baseline) / np.median(inside))
            if np.median(inside)
            else np.inf
        )
        if not (np.isfinite(ratio) and ratio > 0):
            raise BadInput(
                f"{session}: expected positive intensities in the brain, their median is 0; exclude the scan"
            )
        line = slope * ratio * inside + intercept
        gains[session] = ratio
        clipped[session] = float((np.abs(line) > 1).mean())
        data = np.full(brain.shape, BACKGROUND, dtype=np.float32)
        data[brain] = np.clip(line, -1, 1)
        normalised[session] = data
    return normalised, Line(float(slope), float(intercept), baseline_session, gains, clipped)


def percentile(values: NDArray[np.float32], contrast: str, options: dict[str, object]) -> tuple[float, float]:
    """The line that brings two percentiles to two values; lesions, above the upper one, go to the headroom over it."""
    settings = check(PercentileOptions, options, "normalisation.percentile")
    low, high = np.percentile(values, (settings.low_percentile, settings.high_percentile))
    slope = (settings.high_value - settings.low_value) / max(high - low, np.finfo(np.float32).tiny)
    return (float(slope), float(settings.low_value - slope * low)) if high > low else (0.0, 0.0)


def zscore(values: NDArray[np.float32], contrast: str, options: dict[str, object]) -> tuple[float, float]:
    """The line that brings mean plus and minus some standard deviations to 1 and -1."""
    settings = check(ZscoreOptions, options, "normalisation.zscore")
    mean, deviation = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    if deviation <= 0:
        return 0.0, 0.0
    slope = 1 / (deviation * settings.deviations)
    return slope, -slope * mean
