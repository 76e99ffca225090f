"""The small stack and the tiny generator of the unit tests of synthesis."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

PATH = Path(__file__).parents[1] / "unit/synthesis/conftest.py"
spec = spec_from_file_location("synthesis_fixtures", PATH)
fixtures = module_from_spec(spec)
sys.modules["synthesis_fixtures"] = fixtures
spec.loader.exec_module(fixtures)

stack, detector_path, given, generator_path = (
    getattr(fixtures, name) for name in ("stack", "detector_path", "given", "generator_path")
)
