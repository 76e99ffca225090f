"""config.yaml, its schema and the typed settings of the stages are one thing."""

import copy
import json
import re
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from msdiff.cli.config_schema import text
from msdiff.config import Config
from msdiff.config_files import SIZES, laid_over, merged_config, read_yaml
from msdiff.errors import BadSettings
from msdiff.settings import check

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


@pytest.mark.parametrize("size", SIZES)
def test_config_follows_its_schema_and_the_typed_settings_at_every_size(validator, size):
    config = merged_config(size=size)
    validator.validate(config)
    assert check(Config, config).cohort["phantom"].split.train > 0
    assert config["size"] == size


def test_every_size_has_its_file():
    assert sorted(path.stem for path in (ROOT / "workflow/config/sizes").glob("*.yaml")) == sorted(SIZES)
    assert json.loads(SCHEMA.read_text())["properties"]["size"]["enum"] == list(SIZES)


def test_the_page_of_a_user_is_short():
    assert len((ROOT / "config.yaml").read_text().splitlines()) <= 120


def leaves(values, path=()):
    """The path of every value of a config that is no mapping."""
    if not isinstance(values, dict):
        return {path}
    return {leaf for key, value in values.items() for leaf in leaves(value, (*path, key))}


def test_the_page_states_nothing_that_a_size_or_a_stage_states_too():
    """The page would win over every size."""
    page = leaves(read_yaml(ROOT / "config.yaml"))
    others = list((ROOT / "workflow/config").rglob("*.yaml"))
    assert {path.name: page & leaves(read_yaml(path)) for path in others} == {path.name: set() for path in others}


def test_what_the_page_offers_is_valid(validator, tmp_path):
    """Its choices behind # are taken as a user would take them."""
    lines = (ROOT / "config.yaml").read_text().splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("# Choices"))
    offered = [line.removeprefix("# ").removeprefix("#") for line in lines[start + 1 :]]
    (tmp_path / "page.yaml").write_text("\n".join(offered))
    choices = read_yaml(tmp_path / "page.yaml")
    assert set(choices) >= {"preprocess", "parcellation", "detection"}
    config = laid_over(paper_scale(), choices)
    validator.validate(config)
    # They are stated at the papers' size.
    assert config == paper_scale()


def test_the_last_wins(tmp_path):
    """Stages, size, page, overlays."""
    page = read_yaml(ROOT / "config.yaml")
    assert merged_config(size="demo")["tables"]["bootstrap_resamples"] == 500
    (tmp_path / "page.yaml").write_text(json.dumps(page | {"size": "demo", "tables": {"bootstrap_resamples": 7}}))
    config = merged_config(page=tmp_path / "page.yaml")
    assert (config["size"], config["tables"]["bootstrap_resamples"], config["detection"]["seeds"]) == ("demo", 7, [0])
    config = merged_config({"size": "small"}, {"tables": {"bootstrap_resamples": 8}}, page=tmp_path / "page.yaml")
    assert (config["size"], config["tables"]["bootstrap_resamples"]) == ("small", 8)
    assert config["preprocess"]["grid"]["shape"] == [128, 128, 60]


def test_null_takes_the_place_of_a_mapping_and_a_mapping_that_of_null():
    assert laid_over({"a": {"b": 1}, "c": 2}, {"a": None}) == {"a": None, "c": 2}
    assert laid_over({"a": None}, {"a": {"b": 1}}) == {"a": {"b": 1}}


def test_an_unknown_size_is_answered_with_the_valid_ones():
    with pytest.raises(BadSettings, match="size: expected one of demo, small, paper, got 'smal'; did you mean 'small'"):
        merged_config(size="smal")


def test_a_file_that_is_no_mapping_is_refused(tmp_path):
    (tmp_path / "page.yaml").write_text("just text")
    with pytest.raises(BadSettings, match="expected keys with values"):
        merged_config(page=tmp_path / "page.yaml")
    (tmp_path / "page.yaml").write_text("study: [phantom")
    with pytest.raises(BadSettings, match="expected YAML"):
        merged_config(page=tmp_path / "page.yaml")
    with pytest.raises(BadSettings, match="cannot be read"):
        merged_config(page=tmp_path / "none.yaml")


@pytest.fixture(scope="module")
def dry_run(checkout, environment, tmp_path_factory):
    """A function that plans with a profile and options: the count of jobs, or the one line of the error."""
    overlay = tmp_path_factory.mktemp("overlay") / "mine.yaml"
    overlay.write_text("tables: {confidence_level: 0.9}\n")

    def planned(profile, *options):
        options = [str(overlay) if option == "mine.yaml" else option for option in options]
        command = ["snakemake", "-n", "--profile", profile, *options, "--", "all"]
        run = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        if run.returncode:
            (line,) = [line for line in run.stderr.splitlines() if line.startswith("msdiff: error: ")]
            assert (run.returncode, "Traceback" in run.stderr) == (2, False)
            return line
        return int(re.search(r"^total +(\d+)", run.stdout, re.MULTILINE)[1])

    return planned


@pytest.fixture(scope="module")
def demo_jobs(dry_run):
    return dry_run("profiles/demo")


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("profile", "options"),
    [
        ("profiles/demo", ["--configfile", "mine.yaml"]),
        ("profiles/demo", ["--config", "study=phantom"]),
        ("profiles/demo", ["--configfile", "mine.yaml", "--config", "detection={seeds: [5]}"]),
        ("profiles/demo", ["--directory", "elsewhere", "--config", "study=phantom"]),
        ("slurm", ["--config", "size=demo", "--configfile", "mine.yaml"]),
    ],
)
def test_the_demo_stays_at_its_size(dry_run, demo_jobs, profile, options):
    assert dry_run(profile, *options) == demo_jobs


@pytest.mark.workflow
def test_the_size_of_the_command_line_wins_over_the_profiles(dry_run, demo_jobs):
    assert dry_run("profiles/demo", "--configfile", "mine.yaml", "--config", "size=small") > demo_jobs


@pytest.mark.workflow
def test_numbers_can_be_set_on_the_command_line(dry_run, demo_jobs):
    """A training and the scores of it, for each detector and mix."""
    assert dry_run("profiles/demo", "--config", "detection={seeds: [5, 6]}") > demo_jobs


@pytest.mark.workflow
@pytest.mark.parametrize("profile", ["profiles/demo", "profiles/local", "slurm"])
def test_a_dotted_key_of_the_command_line_is_told_in_one_line(dry_run, profile):
    line = "msdiff: error: --config detection.seeds=[5]: keys are nested: --config 'detection={seeds: [5]}'"
    assert dry_run(profile, "--config", "detection.seeds=[5]") == line


@pytest.mark.workflow
def test_a_dotted_key_of_a_file_is_told_in_one_line(dry_run, tmp_path):
    (tmp_path / "dotted.yaml").write_text("detection.seeds: [5]\n")
    assert "unknown key 'detection.seeds'" in dry_run("profiles/demo", "--configfile", str(tmp_path / "dotted.yaml"))


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("size=smal", "config: size: expected one of demo, small, paper, got 'smal'; did you mean 'small'?"),
        ("detection={seeds: [x]}", "config: detection.seeds.0: expected a whole number, got 'x'"),
        ("synthesis={generators: [long_ms_dif]}", "config: synthesis.generators: expected one of long_ms_diff, got"),
        ("cohort={a b: {sheet: null}}", "config: cohort: expected a name of letters, digits, - and _, got 'a b'"),
    ],
)
def test_a_wrong_value_of_the_command_line_is_told_in_one_line(dry_run, option, line):
    assert dry_run("profiles/demo", "--config", option).startswith(f"msdiff: error: {line}")


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_overlays_follow_the_schema_too(validator, overlay):
    config = laid_over(paper_scale(), read_yaml(overlay))
    validator.validate(config)
    check(Config, config)
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


@pytest.mark.parametrize(
    ("section", "valid"),
    [
        ({"module": "laboratory.generator", "item": "slice", "steps": 5, "network": {"width": 8}}, True),
        # Its name alone says nothing of where it is.
        ({"item": "slice", "steps": 5}, False),
        ({"module": "laboratory/generator.py", "item": "slice"}, False),
        ({"module": "laboratory.generator", "item": "pixel"}, False),
        (None, False),
    ],
)
def test_a_generator_from_elsewhere_has_a_section_with_its_module(validator, section, valid):
    config = paper_scale()
    config["synthesis"] |= {"generators": ["long_ms_diff", "own"], "own": section}
    assert validator.is_valid(config) == valid


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        # The file holds all backends; each is checked, not the chosen one alone.
        (("preprocess", "registration"), {"plain": {"tolerance_mm": "much"}}, "registration"),
        (("synthesis", "long_ms_diff", "objective", "weight"), {"backend": "min_srn"}, "expected one of unit, min_snr"),
        (("preprocess", "bias"), {"unheard_of": {}}, "unheard_of"),
        (("synthesis", "long_ms_diff", "network"), {"norm_groups": 7}, "norm_groups 7 must divide"),
        (("preprocess",), {"patients_per_job": 0}, "patients_per_job"),
        (("forecasting", "models"), {"pre_treatment": {"sessions": ["w048"]}}, "expected the first of slabs.sessions"),
    ],
)
def test_the_typed_settings_refuse_what_the_stages_refuse(path, changes, message):
    config = paper_scale()
    inner = config
    for key in path:
        inner = inner[key]
    inner |= changes
    with pytest.raises(BadSettings, match=message):
        check(Config, config)


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
