"""Settings of a training, and the learning rate that follows from them."""

import math
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from msdiff.settings import Settings


class TrainingSettings(Settings):
    """How long and how fast to train.

    micro_batches       a batch goes through the network in this many parts, of nearly one size, to fit into memory;
                        processes that train together share them
    validate_every      steps, 0 for never
    keep                the weights of the last step, or the best by the validation's score
    """

    steps: PositiveInt
    batch_size: PositiveInt
    micro_batches: PositiveInt
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    warm_up_steps: NonNegativeInt
    decay: Literal["none", "linear", "cosine"]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    clip_norm: PositiveFloat
    precision: Literal["fp32", "bf16"]
    log_every: PositiveInt
    checkpoint_every: PositiveInt
    validate_every: NonNegativeInt
    keep: Literal["last", "best"]

    @property
    def parts(self) -> int:
        """How many parts a batch has; none is empty."""
        return min(self.micro_batches, self.batch_size)


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """The learning rate of the step with this number, counted from 0."""
    if step < settings.warm_up_steps:
        return settings.learning_rate * (step + 1) / settings.warm_up_steps
    left = 1 - (step - settings.warm_up_steps) / max(1, settings.steps - settings.warm_up_steps)
    factor = {"none": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}[settings.decay]
    return settings.learning_rate * factor
