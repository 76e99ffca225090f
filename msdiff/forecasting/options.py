"""Settings of the forecasts, section `forecasting` of config.yaml (Favero et al. 2025, arXiv 2508.07006)."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from msdiff.forecasting.slabs import SlabSettings
from msdiff.metrics.regional import ReadoutSettings
from msdiff.settings import Choice, Settings
from msdiff.training import TrainingSettings

Probability = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern="^[a-z0-9_]+$")]
Session = Annotated[str, Field(pattern="^[A-Za-z0-9]+$")]
Names = Annotated[tuple[Name, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})]


class NetworkOptions(Settings):
    """Sizes of UNet and ControlNet, which slices enter as channels.

    channels            of each level; every level but the last halves the image
    residual_blocks     per level
    attention           whether each level has attention
    head_channels       of one attention head
    norm_groups         of the group normalisation
    cross_attention     width of the arm's token that transformer blocks attend to, or null for plain self-attention
    transformer_layers  per block with attention; without meaning where cross_attention is null
    condition_channels  of the convolutions that read the ControlNet's images
    """

    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    residual_blocks: PositiveInt
    attention: tuple[bool, ...]
    head_channels: PositiveInt
    norm_groups: PositiveInt
    cross_attention: PositiveInt | None
    transformer_layers: PositiveInt
    condition_channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


class ObjectiveSettings(Settings):
    """The loss of both stages.

    prediction          what the network predicts: eps, x or v
    schedule            of the noise
    weight              of a sample's loss by its noise
    lesion_weight       how many times a voxel of a NET2 lesion counts
    """

    prediction: Literal["eps", "x", "v"]
    schedule: Choice
    weight: Choice
    lesion_weight: PositiveFloat


class PriorSettings(Settings):
    """Section `forecasting.prior`, stage 1: the distribution of NET2 masks under each treatment.

    generates           channels that are drawn together: net2, or an image of the last session and net2
    treatment_dropout   probability that the arm is the null arm
    """

    seed: NonNegativeInt
    generates: Names
    treatment_dropout: Probability
    objective: ObjectiveSettings
    training: TrainingSettings


class ControlDropout(Settings):
    """Probabilities that the arm is the null arm and that the images are zeros, independent of each other."""

    treatment: Probability
    images: Probability


class ControlSettings(Settings):
    """Section `forecasting.control`, stage 2: what a patient's images say beside the treatment.

    balanced            active and inactive patients as often: a subset of the more frequent ones, weights, or none
    """

    seed: NonNegativeInt
    dropout: ControlDropout
    balanced: Literal["subset", "weights", "none"]
    training: TrainingSettings


class ModelSettings(Settings):
    """A model of `forecasting.models`: the sessions whose channels it is given."""

    sessions: Annotated[tuple[Session, ...], Field(min_length=1, max_length=2)]


class DrawSettings(Settings):
    """A purpose of `forecasting.draws`.

    model               one of `forecasting.models`
    split               whose patients are drawn
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


class RegionalSettings(Settings):
    """Section `forecasting.regional`: when a patient counts as predicted to have a lesion in a region.

    predict             ensemble: by the map of voxel probabilities; draws: by the share of draws with a lesion there
    threshold           on it; tuned: of the best balanced accuracy on validation patients, mean over the regions
    """

    predict: Literal["ensemble", "draws"]
    threshold: Literal["tuned"] | Probability


class MonteCarloSettings(Settings):
    """Section `forecasting.monte_carlo`: runs of the baseline that draws outcomes from the training set's shares."""

    runs: PositiveInt
    seed: NonNegativeInt


class ForecastingSettings(Settings):
    """Section `forecasting`, as in config.yaml; the commands read its parts.

    cohorts             by the study: the cohort whose future is forecast
    arms                treatments, from no to high efficacy
    draw_batch          draws at once; changes none of them but by rounding
    seed                of the draws; purposes share it, so that equal rows have equal draws
    voxel_threshold     on a drawn mask, in [0, 1]
    """

    cohorts: dict[str, str]
    arms: Names
    slabs: SlabSettings
    network: dict[str, Any]
    prior: PriorSettings
    control: ControlSettings
    models: dict[str, ModelSettings]
    sampler: dict[str, Any]
    draw_batch: PositiveInt
    seed: NonNegativeInt
    voxel_threshold: Probability
    draws: dict[str, DrawSettings]
    readout: ReadoutSettings
    regional: RegionalSettings
    monte_carlo: MonteCarloSettings

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for name, model in self.models.items():
            if model.sessions != self.slabs.sessions[: len(model.sessions)]:
                raise ValueError(f"models.{name}.sessions: expected the first of slabs.sessions, got {model.sessions}")
        for purpose, draws in self.draws.items():
            if draws.model not in self.models:
                raise ValueError(f"draws.{purpose}.model: expected one of {', '.join(self.models)}, got {draws.model}")
        return self
