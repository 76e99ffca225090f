"""docs/extending.md, done in a copy of the checkout: what it says is enough, and no other file has to change."""

import filecmp
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from small_stack import simulate_stack

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/extending.md").read_text()
# A heading `FILE`: or `FILE`, after `LINE`: (and after `LINE`, with a block for each), and its blocks.
HEADING = re.compile(
    r"^`([\w./]+)`((?:,(?: and)? after `[^`]+`)*):\n\n((?:```\w+\n.*?^```\n\n?)+)", re.MULTILINE | re.DOTALL
)
SETTINGS = {
    **{"confidence_level": 0.95, "bootstrap_resamples": 20, "bootstrap_seed": 0, "patients_per_resample": None},
    "expected_cost": {
        "cost_false_positive": 10,
        "cost_false_negative": 1,
        "prior_negative": 0.9,
        "prior_positive": 0.1,
    },
    **{"lesion_size_edges_mm3": [14.0], "figure_patients": 1, "quality_pictures": 1},
}


# Of a run on a stack of a few small brains.
SHORT = {"steps": 4, "log_every": 2, "checkpoint_every": 2}
SMALLER = {
    "synthesis": {
        "generators": ["mine"],
        "mine": {"training": SHORT},
        "auxiliary": {"detector": {"training": {**SHORT, "validate_every": 2}}},
        "shards": {"mass": 2, "held_out": 1},
        "plan": {"mass": {"count": 5, "minimum_surviving_fraction": 0.1}},
    },
    "detection": {"detectors": {"unet": {"training": {**SHORT, "validate_every": 2}}}},
}
RULES = [
    *("list_auxiliary_slices", "train_auxiliary", "train_generator", "plan_samples", "sample_images", "score_images"),
    *("check_leakage", "export_samples", "mix_slices", "train_detector", "image_quality"),
]


def section(title):
    """What the page says under a heading."""
    return re.split(r"^## ", PAGE.partition(f"\n## {title}\n")[2], flags=re.MULTILINE)[0]


class Copy:
    """A copy of the checkout in which a section of the page is done."""

    def __init__(self, folder, checkout, environment, title):
        self.folder = shutil.copytree(checkout, folder, symlinks=True)
        self.before = checkout
        self.environment = environment | {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        self.named = set()
        for name, anchors, blocks in HEADING.findall(section(title)):
            self.named.add(name)
            bodies = re.findall(r"^```\w+\n(.*?)^```", blocks, re.MULTILINE | re.DOTALL)
            path, lines = self.folder / name, re.findall("after `([^`]+)`", anchors)
            if not lines:
                (body,) = bodies
                assert not path.exists()
                path.parent.mkdir(exist_ok=True)
                path.write_text(body)
            for line, body in zip(lines, bodies if lines else [], strict=True):
                text = path.read_text().splitlines(keepends=True)
                (place,) = [number for number, found in enumerate(text) if found.strip() == line]
                path.write_text("".join([*text[: place + 1], body, *text[place + 1 :]]))

    def run(self, *command):
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def changed(self):
        """The files that are not as they were, but for those that a run leaves."""
        found = set()
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder)
            left = any(part.startswith(".") or part in ("results", "__pycache__") for part in name.parts)
            if path.is_file() and not left:
                old = self.before / name
                if not (old.is_file() and filecmp.cmp(path, old, shallow=False)):
                    found.add(str(name))
        return found

    def passes(self, path, keyword, more=1):
        """The copy's own tests of this keyword pass, and there are some."""
        told = self.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path, "-k", keyword)
        assert int(re.search(r"(\d+) passed", told)[1]) >= more

    def follows_the_rules(self):
        """Of the linter; what stands on the page fits it."""
        files = [name for name in sorted(self.named) if name.endswith(".py")]
        self.run("ruff", "check", *files)


def rows_of(title):
    """The files that the section's table names."""
    return len(re.findall(r"^\| [^|]*`[^|]+ \|", section(title).partition("|---|---|")[2], re.MULTILINE))


def write_scores(folder, seed):
    """The scores of a detector that finds all lesions of one patient of two; a third has none."""
    counts = pd.DataFrame({"subject": ["sub-1", "sub-2", "sub-3"], "true_lesions": [2, 2, 0], "correct": [2, 1, 0]})
    counts["false_negatives"] = counts["true_lesions"] - counts["correct"]
    for column in ("tp", "fp", "fn", "tn", "dice", "false_positives", "msseg2_true_lesions", "msseg2_detected"):
        counts[column] = 0
    counts = counts.assign(msseg2_predictions=0, msseg2_true_predictions=0, msseg2_predicted_mm3=0.0)
    training = {"generator": "g", "architecture": "unet", "mix": "1-0", "seed": seed, "n_real": 1, "n_synthetic": 0}
    folder.mkdir()
    counts.assign(**training).to_csv(folder / "patients.tsv", sep="\t", index=False)
    columns = ["subject", "follow_up_session", "kind", "label", "volume_mm3", "matched", "msseg2_matched"]
    pd.DataFrame(columns=columns).to_csv(folder / "lesions.tsv", sep="\t", index=False)
    return str(folder)


def test_a_table_is_its_module_its_caption_and_a_line(checkout, environment, tmp_path):
    copy = Copy(tmp_path / "msdiff", checkout, environment, "A table")
    runs = [write_scores(tmp_path / f"scores-{seed}", seed) for seed in (0, 1)]
    out = tmp_path / "complete_patients.csv"
    inputs = ["--input", "cohort", "phantom", "--input", "runs", *runs]
    settings = ["--out", str(out), "--settings", json.dumps({"tables": SETTINGS})]
    copy.run(sys.executable, "-m", "msdiff", "table", "complete_patients", *inputs, *settings)
    (row,) = pd.read_csv(out).to_dict("records")
    assert (row["generator"], row["n"], row["seeds"], row["complete_share"]) == ("g", 2, 2, 0.5)
    plan = copy.run("snakemake", "--profile", "profiles/demo", "-n", "-p", "all")
    assert "python -m msdiff table complete_patients" in plan
    assert re.search(r"^complete_patients +1$", plan, re.MULTILINE)
    assert re.search(r"input: .*results/tables/complete_patients\.csv", plan.partition("rule report:")[2])
    copy.passes("tests/unit/tables/test_registry.py", "complete_patients")
    copy.passes("tests/unit/test_environments.py", "complete_patients")
    copy.follows_the_rules()
    assert copy.changed() == copy.named
    assert len(copy.named) == rows_of("A table") == 3


def test_a_backend_is_its_module_its_options_and_a_line(checkout, environment, tmp_path):
    copy = Copy(tmp_path / "msdiff", checkout, environment, "A backend")
    schema = "workflow/schemas/config.schema.json"
    copy.run(sys.executable, "-m", *re.search(rf"python -m (msdiff config-schema --out {schema})", PAGE)[1].split())
    copy.passes("tests/backends/test_preprocess_backends.py", "bias and homomorphic")
    copy.passes("tests/workflow/test_config.py", "schema_is_that")
    (choice,) = re.findall(r"`--config '(.*?)'`", section("A backend"))
    target = "results/preprocessed/phantom/corrected/000"
    plan = copy.run("snakemake", "--profile", "profiles/demo", "-n", "-p", "--config", choice, "--", target)
    assert '{"backend": "homomorphic", "options": {"sigma_mm": 60.0}}' in plan
    copy.follows_the_rules()
    assert copy.changed() == copy.named | {schema}
    assert len(copy.changed()) == rows_of("A backend") == 5


def test_a_generator_from_elsewhere_is_its_module_and_its_section(checkout, environment, tmp_path):
    """What the commands then do with it, tests/unit/synthesis/test_generators.py holds."""
    copy = Copy(tmp_path / "msdiff", checkout, environment, "A generator")
    plan = copy.run("snakemake", "--profile", "profiles/demo", "--configfile", "mine.yaml", "-n", "-p", "all")
    for rule, words in {
        "train_generator": '"generator": "mine", "item": "volume", "module": "mylab.generator"',
        "plan_samples": "--item volume",
        "sample_images": "--generator mine --module mylab.generator",
        "score_images": "--shards results/synthesis/phantom/mine/held_out/shards/000",
        "check_leakage": "--generator results/synthesis/phantom/mine/weights.safetensors",
        "mix_slices": "results/synthesis/phantom/mine/mass/shards/000",
        "find_nearest": "results/synthesis/phantom/mine/mass/shards/000",
        "image_quality": "results/synthesis/phantom/mine/image_scores.tsv",
    }.items():
        assert any(words in job for job in plan.split(f"rule {rule}:")[1:]), rule
    # The ablation is of Long-MS-Diff, whose plan and name it keeps.
    assert "--item slice" in plan
    assert "--generator long_ms_diff " in plan
    alone = ["--configfile", "mine.yaml", "--config", "synthesis={generators: [mine]}"]
    plan = copy.run("snakemake", "--profile", "profiles/demo", *alone, "-n", "all")
    assert re.search(r"^train_generator +1$", plan, re.MULTILINE)
    assert "ablation" not in plan
    copy.follows_the_rules()
    assert copy.changed() == copy.named
    assert len(copy.named) == rows_of("A generator") == 2


def test_a_generator_from_elsewhere_runs_from_config_to_table(checkout, environment, tmp_path):
    copy = Copy(tmp_path / "msdiff", checkout, environment, "A generator")
    results = copy.folder / "results"
    stack = simulate_stack(results / "preprocessed/phantom/stack").folder
    (results / "cohorts/phantom/folds").mkdir(parents=True)
    (stack / "slices.tsv").rename(results / "cohorts/phantom/slices.tsv")
    (stack / "fold.tsv").rename(results / "cohorts/phantom/folds/split.tsv")
    (copy.folder / "smaller.yaml").write_text(yaml.safe_dump(SMALLER))
    mixed = "results/detection/phantom/mine/unet/1-1/seed-0/weights.safetensors"
    nifti = "results/synthesis/phantom/mine/mass/nifti"
    asked = ["--profile", "profiles/demo", "--configfile", "mine.yaml", "smaller.yaml", "--allowed-rules", *RULES]
    copy.run("snakemake", *asked, "--", "results/tables/image_quality.csv", mixed, nifti)
    table = pd.read_csv(results / "tables/image_quality.csv").set_index(["generator", "region"])
    assert table.loc[("mine", "lesion"), "n"] == 2
    assert table.loc[("mine", "brain"), "mae"] > 0
    assert json.loads((results / "privacy/phantom/mine/leakage.json").read_text())["n_samples"] == 5
    assert len(list((copy.folder / nifti).glob("sub-*/anat/*_FLAIR.nii.gz"))) == 5
