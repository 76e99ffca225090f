import copy
from typing import Any

import pytest

FLAIR = {"csf": 60, "grey_matter": 455, "white_matter": 380, "bone": 20, "marrow": 200, "fat": 620, "muscle": 230}
T1W = {"csf": 150, "grey_matter": 430, "white_matter": 640, "bone": 25, "marrow": 420, "fat": 900, "muscle": 330}
VALUES = {
    "seed": 7,
    "arms": {"placebo": 4, "high_efficacy": 2},
    "active_only": False,
    "sessions": ["w000", "w048", "w096"],
    "space": "scanner",
    # Favero et al. 2025, table 1
    "activity": {
        "placebo": {"mean_count": [4.60, 3.33], "active_percent": [63.7, 58.1]},
        "no_efficacy": {"mean_count": [5.51, 4.49], "active_percent": [64.7, 57.1]},
        "low_efficacy": {"mean_count": [4.37, 4.37], "active_percent": [54.7, 51.9]},
        "mild_efficacy": {"mean_count": [0.63, 1.59], "active_percent": [24.9, 33.7]},
        "moderate_efficacy": {"mean_count": [0.60, 1.03], "active_percent": [19.6, 26.1]},
        "high_efficacy": {"mean_count": [0.07, 0.07], "active_percent": [3.20, 1.50]},
    },
    "lesions": {
        "count_dispersion": 0.8,
        "count_limit": 60,
        "persistence": 0.6,
        "baseline": {"mean": 16, "dispersion": 1.5, "limit": 50},
        "region_share": {"periventricular": 0.42, "deep": 0.27, "juxtacortical": 0.26, "cortical": 0.05},
        "radius_mm": 2.8,
        "radius_spread": 0.35,
        "radius_limits_mm": [1.8, 6.0],
        "elongation": 1.7,
        "gap_mm": 4.5,
        "enlarging_share": 0.15,
        "shrinking_share": 0.3,
        "shrinkage": 0.85,
        "enhancing_share": 0.35,
        "near_enhancing_share": 0.5,
        "edge_mm": 1.0,
    },
    "anatomy": {"working_mm": 4, "warp_mm": 4.0, "warp_smoothness_mm": 24.0, "size_percent": 4.0},
    "scanner": {
        "spacing_mm": [3.0, 3.0, 6.0],
        "spacing_variation_percent": 2.0,
        "field_of_view_mm": [200, 240, 180],
        "rotation_degrees": 8.0,
        "translation_mm": 8.0,
        "tilt_degrees": 6.0,
        "movement_degrees": 1.0,
        "movement_mm": 1.0,
        "bias_percent": 12.0,
        "noise_percent": 3.0,
        "gain_percent": 15.0,
        "contrast_percent": 4.0,
        "tissues": {"flair": {**FLAIR, "lesion": [1.35, 1.6]}, "t1w": {**T1W, "lesion": [0.9, 0.62]}},
    },
}


@pytest.fixture
def values() -> dict[str, Any]:
    """Settings of a coarse phantom, to be changed at will."""
    return copy.deepcopy(VALUES)


@pytest.fixture
def few_lesions(values: dict[str, Any]) -> dict[str, Any]:
    """The same with few, large lesions far apart."""
    values["lesions"] |= {
        "baseline": {"mean": 4, "dispersion": 2.0, "limit": 6},
        "count_limit": 10,
        "radius_mm": 5.5,
        "radius_spread": 0.1,
        "radius_limits_mm": [4.5, 7.0],
        "gap_mm": 12.0,
        "edge_mm": 2.0,
    }
    return values
