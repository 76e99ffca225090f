"""The small stack, slabs and tiny networks of the unit tests of synthesis and forecasting."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

UNIT = Path(__file__).parents[1] / "unit"


def fixtures_of(package):
    spec = spec_from_file_location(f"{package}_fixtures", UNIT / package / "conftest.py")
    fixtures = module_from_spec(spec)
    sys.modules[f"{package}_fixtures"] = fixtures
    spec.loader.exec_module(fixtures)
    return fixtures


synthesis, forecasting = fixtures_of("synthesis"), fixtures_of("forecasting")
stack, detector_path, given, generator_path = (
    getattr(synthesis, name) for name in ("stack", "detector_path", "given", "generator_path")
)
stage_slabs, stage_options, prior_path, forecaster_path = (
    getattr(forecasting, name) for name in ("stage_slabs", "stage_options", "prior_path", "forecaster_path")
)
