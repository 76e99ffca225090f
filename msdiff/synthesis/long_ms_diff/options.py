"""Settings of Long-MS-Diff, section `synthesis.long_ms_diff`; task.py tells what they are for."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from msdiff.diffusion.objective import ObjectiveSettings
from msdiff.diffusion.sampler import SamplerSettings
from msdiff.settings import Choice, Settings
from msdiff.synthesis.long_ms_diff.conditions import Condition
from msdiff.synthesis.plan import Unit
from msdiff.training import TrainingSettings

Probability = Annotated[float, Field(ge=0, le=1)]


class DropoutSettings(Settings):
    """Conditions left out in training.

    baseline            probability that the baseline is replaced
    baseline_mode       with standard normal noise, as in the paper, or with zeros
    guidance            probability that mask and scalars are replaced with zeros; above 0 for guided sampling
    """

    baseline: Probability
    baseline_mode: Literal["noise", "zeros"]
    guidance: Probability


class FixedVarianceSettings(Settings):
    """A fixed variance: nothing to set."""


class FollowUpSettings(Settings):
    """The follow-up itself is generated: nothing to set."""


class ResidualSettings(Settings):
    """The difference to the baseline is generated.

    scale               difference in normalised units that becomes 1. Samplers hold estimates to -1 to 1 (`clip`), so
                        that no voxel changes by more than this: 1 is half the range of a normalised scan, 2 all of it
    """

    scale: PositiveFloat


class AuxiliarySettings(Settings):
    """L_seg: samples with t below maximum_time take part, none at 0; balance weighs it against L_recon."""

    maximum_time: Probability
    balance: Choice


class PreviewSettings(Settings):
    """A grid of samples of the EMA, sampled while it trains; changes no weight.

    every               steps; 0 for never
    pairs               of scans, one slice of each: validation patients' where there are any, else training ones'
    sampler             as section `synthesis.sampler`
    """

    every: NonNegativeInt
    pairs: PositiveInt
    sampler: SamplerSettings


class LongMSDiffSettings(Settings):
    """Section `synthesis.long_ms_diff`.

    contrast            array of the stack that is generated
    conditions          what the network is given; the others are zeros, in training and in sampling
    target              what is generated: follow_up, or residual, the difference to the baseline
    pretrained          path of a generator's weights to start from, or null
    positive_fraction   share of the sampled slices that have a change in them
    scalars             describe the change of the whole scan or of the slice
    flip                probability of a flip between left and right
    network             sizes of the ConditionalUNet, without its in and out channels
    objective           of L_recon; lesions are the change mask
    variance            fixed, or learned with the hybrid objective
    """

    generator: Literal["long_ms_diff"]
    seed: NonNegativeInt
    contrast: str
    conditions: Annotated[tuple[Condition, ...], Field(json_schema_extra={"uniqueItems": True})]
    target: Choice
    pretrained: str | None
    positive_fraction: Annotated[float, Field(gt=0, le=1)]
    scalars: Unit
    flip: Probability
    dropout: DropoutSettings
    network: dict[str, Any]
    objective: ObjectiveSettings
    variance: Choice
    auxiliary: AuxiliarySettings
    training: TrainingSettings
    preview: PreviewSettings

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if len(set(self.conditions)) < len(self.conditions):
            raise ValueError(f"conditions must each be named once, got {', '.join(self.conditions)}")
        return self
