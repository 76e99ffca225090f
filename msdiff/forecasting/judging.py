"""Settings of the tables that judge forecasts; apart from the trainings' options, for a table needs no torch."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from msdiff.settings import Settings

Probability = Annotated[float, Field(ge=0, le=1)]


class RegionalSettings(Settings):
    """Section `forecasting.regional`: when a patient counts as predicted to have a lesion in a region.

    predict             ensemble: by the highest voxel probability at which the ensemble's map has one there;
                        draws: by the share of draws that have one there
    threshold           lowest such probability that counts, or tuned: by balanced accuracy on validation patients
    """

    predict: Literal["ensemble", "draws"]
    threshold: Annotated[float, Field(gt=0, le=1)] | Literal["tuned"]


class MonteCarloSettings(Settings):
    """Section `forecasting.monte_carlo`: runs of the baseline that samples outcomes by the training set's shares."""

    runs: PositiveInt
    seed: NonNegativeInt


class CalibrationSettings(Settings):
    """Section `forecasting.calibration`: where a bin of probability ends and the next begins, from 0 to 1."""

    edges: Annotated[tuple[Probability, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        edges = self.edges
        if list(edges) != sorted(set(edges)) or (edges[0], edges[-1]) != (0, 1):
            raise ValueError(f"edges: expected ascending probabilities from 0 to 1, got {list(edges)}")
        return self
