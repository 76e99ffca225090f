"""How far readers agree in scores of an ordered scale.

References: Cohen (1968), weighted kappa; Krippendorff (2011), alpha for ordinal data, any number of readers and missing
scores.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def agreement(scores: NDArray[np.float64], levels: Sequence[int]) -> float:
    """Agreement of scores (reader, case), NaN where a reader gave none; 1 is perfect, 0 what chance gives.

    Of two readers the kappa with quadratic weights over the cases that both scored, of more Krippendorff's alpha for
    ordinal data. NaN for a single reader, where no two scored the same case, and where all scores are the same.
    """
    import krippendorff
    from sklearn.metrics import cohen_kappa_score

    paired = scores[:, (~np.isnan(scores)).sum(axis=0) >= 2]
    if len(np.unique(paired[~np.isnan(paired)])) < 2:
        return np.nan
    if len(paired) == 2:
        first, second = paired.astype(np.int64)
        return float(cohen_kappa_score(first, second, labels=list(levels), weights="quadratic"))
    return float(krippendorff.alpha(paired, value_domain=list(levels), level_of_measurement="ordinal"))
