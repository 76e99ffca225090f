"""WhiteStripe (Shinohara et al., NeuroImage: Clinical 6, 2014) from the package intensity-normalization."""

import numpy as np
from intensity_normalization.adapters.images import NumpyImageAdapter
from intensity_normalization.domain.exceptions import NormalizationError
from intensity_normalization.domain.models import Modality
from intensity_normalization.normalizers.individual.whitestripe import WhiteStripeNormalizer
from numpy.typing import NDArray
from pydantic import Field

from msdiff.settings import Settings, check

MODALITIES = {"flair": Modality.FLAIR, "t1w": Modality.T1, "t2w": Modality.T2}


class WhitestripeOptions(Settings):
    """Half the stripe's width as a fraction of the brain, and where the stripe and its spread go in [-1, 1]."""

    width: float = Field(gt=0, lt=0.5)
    deviations: float = Field(gt=0)
    centre: float = Field(ge=-1, le=1)


def fit(values: NDArray[np.float32], contrast: str, options: dict[str, object]) -> tuple[float, float]:
    """The line that brings normal-appearing white matter to `centre`; contract as in normalisation.py."""
    settings = check(WhitestripeOptions, options, "normalisation.whitestripe")
    stripe = WhiteStripeNormalizer(width=settings.width, modality=MODALITIES.get(contrast, Modality.T1))
    image = NumpyImageAdapter(values.astype(np.float64)[:, None, None])
    mask = NumpyImageAdapter(np.ones((len(values), 1, 1)))
    try:
        stripe.fit(image, mask)
    except NormalizationError:
        # One value everywhere: no stripe, which the stage reports with the session's name.
        return 0.0, 0.0
    if stripe.mean is None or stripe.std is None:
        return 0.0, 0.0
    slope = 1 / (stripe.std * settings.deviations)
    return slope, settings.centre - slope * stripe.mean
