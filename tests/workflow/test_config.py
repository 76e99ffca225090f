"""config.yaml, its schema and the typed settings of the stages are one thing."""

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from msdiff.cli.config_schema import text
from msdiff.config_files import laid_over, merged_config, read_yaml

ROOT = Path(__file__).parent.parent.parent
SCHEMA = ROOT / "workflow/schemas/config.schema.json"
OVERLAYS = sorted(
    path
    for pattern in ("workflow/config/sizes/*.yaml", "profiles/memory/*.yaml", "cohorts/*.yaml")
    for path in ROOT.glob(pattern)
)


def paper_scale():
    return merged_config(size="paper")


def paths_of(values, path=()):
    """Every mapping inside a config, by its path."""
    if isinstance(values, dict):
        yield path
        for key, value in values.items():
            yield from paths_of(value, (*path, key))


@pytest.fixture(scope="module")
def validator():
    return Draft202012Validator(json.loads(SCHEMA.read_text()))


def test_schema_is_that_of_the_typed_settings():
    written = SCHEMA.read_text()
    assert written == text(), "run: python -m msdiff config-schema --out workflow/schemas/config.schema.json"


def test_config_follows_its_schema(validator):
    validator.validate(paper_scale())


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_overlays_follow_the_schema_too(validator, overlay):
    config = laid_over(paper_scale(), read_yaml(overlay))
    validator.validate(config)
    assert config["study"] in config["cohort"]


@pytest.mark.parametrize("path", list(paths_of(paper_scale())), ids=".".join)
def test_unknown_keys_are_refused_at_every_level(validator, path):
    config = copy.deepcopy(paper_scale())
    inner = config
    for key in path:
        inner = inner[key]
    # Cohorts and arms have free names; there it is the value that no schema knows.
    inner["unheard_of"] = [None]
    assert not validator.is_valid(config)


@pytest.mark.parametrize("overlay", [None, *OVERLAYS], ids=lambda path: path and f"{path.parent.name}-{path.stem}")
def test_the_detector_that_scores_the_generator_is_not_the_one_that_trained_it(overlay):
    """Not by its list of slices, nor by its loss, nor by its seed."""
    config = laid_over(paper_scale(), read_yaml(overlay) if overlay else {})
    auxiliary, scorer = config["synthesis"]["auxiliary"], config["detection"]
    assert auxiliary["slices"]["unit"] != scorer["slices"]["unit"]
    assert auxiliary["detector"]["loss"] != scorer["detectors"]["unet"]["loss"]
    assert auxiliary["seed"] not in scorer["seeds"]


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({"dropout": {"baseline": 0.3}, "auxiliary": {"balance": {"backend": "gradient_norm"}}}, True),
        ({"dropout": {"baseline": 2}}, False),
        ({"dropuot": {"baseline": 0.3}}, False),
        ({"auxiliary": {"balance": {"backend": "unheard_of"}}}, False),
        # Its trainings have the ablation's seeds.
        ({"seed": 3}, False),
        # Left out.
        (None, True),
    ],
)
def test_a_variant_of_the_ablation_is_part_of_a_generators_section(validator, changes, valid):
    config = paper_scale()
    config["synthesis"]["ablation"]["variants"]["own"] = changes
    assert validator.is_valid(config) == valid


def test_paper_scale_is_the_papers():
    config = paper_scale()
    phantom = config["cohort"]["phantom"]
    assert sum(phantom["phantom"]["arms"].values()) == 170
    assert [phantom["split"][name] for name in ("train", "validation", "test")] == [110, 30, 30]
    assert config["synthesis"]["plan"]["mass"]["count"] == 15_000
    assert config["detection"]["mixes"] == ["1-0", "1-1", "1-2", "1-3", "0-1"]
    assert len(config["detection"]["seeds"]) == 3


def test_forecasts_at_paper_scale_are_the_papers():
    """Favero et al. (2025), section 3 and table 3's six arms."""
    config = paper_scale()
    trials, forecasting = config["cohort"]["trials"], config["forecasting"]
    assert forecasting["cohorts"]["phantom"] == "trials"
    assert sum(trials["phantom"]["arms"].values()) == 2131
    assert list(trials["phantom"]["arms"]) == forecasting["arms"]
    assert [trials["split"][name] for name in ("train", "validation", "test")] == [0.8, 0.1, 0.1]
    assert [forecasting[stage]["training"]["steps"] for stage in ("prior", "control")] == [100_000, 40_000]
    assert {forecasting[stage]["training"]["batch_size"] for stage in ("prior", "control")} == {16}
    assert (forecasting["slabs"]["slices"], config["preprocess"]["grid"]["shape"][:2]) == (15, [256, 256])
    assert (forecasting["prior"]["treatment_dropout"], forecasting["prior"]["objective"]["lesion_factor"]) == (0.1, 10)
    assert forecasting["models"]["pre_treatment"]["sessions"] == ["w000"]
    assert (forecasting["draws"]["test"]["draws"], forecasting["draws"]["heat_maps"]["draws"]) == (20, 100)
    assert forecasting["readout"]["opening_voxels"] == [1, 5, 5]
