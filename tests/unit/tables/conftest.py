import pytest

from msdiff import settings
from msdiff.tables.layout import TableSettings


@pytest.fixture
def table_settings():
    values = {
        "confidence_level": 0.95,
        "bootstrap_resamples": 200,
        "bootstrap_seed": 7,
        "patients_per_resample": None,
        "expected_cost": {
            "cost_false_positive": 10,
            "cost_false_negative": 1,
            "prior_negative": 0.99,
            "prior_positive": 0.01,
        },
        "lesion_size_edges_mm3": [14.0, 65.0],
        "figure_patients": 3,
        "quality_pictures": 2,
    }
    return settings.check(TableSettings, values)
