"""Settings of the forecasts, section `forecasting` of the config (Favero et al. 2025, arXiv 2508.07006)."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from msdiff.diffusion.objective import ObjectiveSettings
from msdiff.diffusion.sampler import SamplerSettings
from msdiff.forecasting.judging import CalibrationSettings, MonteCarloSettings, RegionalSettings
from msdiff.forecasting.slabs import NET2, SlabSettings
from msdiff.metrics.regional import ReadoutSettings
from msdiff.settings import Choice, Settings
from msdiff.training import TrainingSettings

Probability = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern="^[a-z0-9_]+$")]
Session = Annotated[str, Field(pattern="^[A-Za-z0-9]+$")]
Names = Annotated[tuple[Name, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})]


class PriorSettings(Settings):
    """Section `forecasting.prior`, stage 1: the distribution of NET2 masks under each treatment.

    generates           channels of the last session that are sampled together: net2, or images and net2
    treatment_dropout   probability that the arm is the null arm
    objective           of both stages; lesions are true NET2 masks
    flip                probability of a flip between left and right
    """

    seed: NonNegativeInt
    generates: Names
    treatment_dropout: Probability
    flip: Probability
    objective: ObjectiveSettings
    training: TrainingSettings

    @model_validator(mode="after")
    def _generates_lesions(self) -> Self:
        if NET2 not in self.generates:
            raise ValueError(f"generates: expected {NET2} among them, got {', '.join(self.generates)}")
        return self


class ControlDropout(Settings):
    """Probabilities that the arm is the null arm and that the images are zeros, independent of each other."""

    treatment: Probability
    images: Probability


class ControlSettings(Settings):
    """Section `forecasting.control`, stage 2: what a patient's images say beside the treatment.

    balanced            active and inactive patients as often: by a subset of the more frequent ones that the seed
                        chooses, by weights, or none
    flip                probability of a flip between left and right
    """

    seed: NonNegativeInt
    dropout: ControlDropout
    balanced: Literal["subset", "weights", "none"]
    flip: Probability
    training: TrainingSettings


class ModelSettings(Settings):
    """A model of `forecasting.models`: the sessions whose channels it is given."""

    sessions: Annotated[tuple[Session, ...], Field(min_length=1, max_length=2)]


class TrainPriorSettings(Settings):
    """What the command `train-prior` takes."""

    network: Choice
    prior: PriorSettings


class TrainControlSettings(Settings):
    """What the command `train-control` takes; network and objective are the prior's."""

    control: ControlSettings
    model: ModelSettings


class DrawSettings(Settings):
    """A purpose of `forecasting.draws`.

    model               one of `forecasting.models`
    split               whose patients are forecast
    arms                own: each patient's; all: every patient under every arm
    draws               per patient and arm
    patients            at most, active and inactive in equal parts; null for all
    shared_noise        a patient's draws start from the same noise under every arm
    shards              jobs
    """

    model: Name
    split: Literal["train", "validation", "test"]
    arms: Literal["own", "all"]
    draws: PositiveInt
    patients: PositiveInt | None
    shared_noise: bool
    shards: Annotated[int, Field(ge=1, le=999)]


class ForecastingSettings(Settings):
    """Section `forecasting`, as in the config; the commands read its parts.

    cohorts             by the study: the cohort whose future is forecast, or null for none
    arms                treatments, from no to high efficacy
    sample_batch          draws at once; changes none of them but by rounding
    seed                of the draws; purposes share it, so that equal rows have equal draws
    voxel_threshold     on a sampled mask, in [0, 1]
    """

    cohorts: dict[str, str | None]
    arms: Names
    slabs: SlabSettings
    network: Choice
    prior: PriorSettings
    control: ControlSettings
    models: dict[str, ModelSettings]
    sampler: SamplerSettings
    sample_batch: PositiveInt
    seed: NonNegativeInt
    voxel_threshold: Probability
    draws: dict[str, DrawSettings]
    readout: ReadoutSettings
    regional: RegionalSettings
    monte_carlo: MonteCarloSettings
    calibration: CalibrationSettings

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for name, model in self.models.items():
            if model.sessions != self.slabs.sessions[: len(model.sessions)]:
                raise ValueError(f"models.{name}.sessions: expected the first of slabs.sessions, got {model.sessions}")
        for purpose, draws in self.draws.items():
            if draws.model not in self.models:
                raise ValueError(f"draws.{purpose}.model: expected one of {', '.join(self.models)}, got {draws.model}")
        return self
