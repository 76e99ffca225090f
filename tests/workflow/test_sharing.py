"""A second user starts from the preprocessed data of a first, in the commands that docs/cluster.md prints."""

import hashlib
import os
import re
import shutil
import subprocess

import pytest
import yaml

pytestmark = pytest.mark.workflow
# Two patients of the embedded cohort.
SMALL = """
cohort: {phantom: {split: {train: 1, validation: 0, test: 1}, phantom: {arms: {placebo: 2, moderate_efficacy: 0}}}}
"""
# In place of `python -m msdiff COMMAND`: writes the outputs at once, made of the arguments. The subject here is what
# Snakemake and cp do with files, not what is in them.
STAND_IN = """#!/bin/sh
all="$*"
while [ $# -gt 1 ]; do
    case "$1 $2" in
        --out*.tsv) echo "$all" >"$2" ;;
        --out*) mkdir -p "$2" && echo "$all" >"$2/image.nii.gz" ;;
    esac
    shift
done
"""
STEP = "results/preprocessed/phantom/normalised/000"
STACK = "results/preprocessed/phantom/stack"


@pytest.fixture(scope="module")
def environment(environment, tmp_path_factory):
    """The user's environment, with the stand-in before it."""
    program = tmp_path_factory.mktemp("bin") / "python"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    return environment | {"PATH": os.pathsep.join([str(program.parent), environment["PATH"]])}


def snakemake(folder, environment, *arguments, targets=(STACK,)):
    """What a run up to the stack, or to other targets, says."""
    options = ["--profile", "profiles/demo", *arguments, "--configfile", "small.yaml"]
    command = ["snakemake", *options, "--", *targets]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    return run.stdout + run.stderr


def planned(folder, environment, *arguments, targets=(STACK,)):
    """Jobs per rule that a dry-run would run."""
    plan = snakemake(folder, environment, "-n", *arguments, targets=targets)
    table = re.search(r"^job\s+count\n-+\s+-+\n(.*?)^total", plan, re.MULTILINE | re.DOTALL)
    return {rule: int(count) for rule, count in map(str.split, table[1].splitlines())} if table else {}


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}


def clone(checkout, folder):
    shutil.copytree(checkout, folder, symlinks=True)
    (folder / "small.yaml").write_text(SMALL)
    return folder


def change_normalisation(folder):
    values = yaml.safe_load(SMALL) | {"preprocess": {"normalisation": {"percentile": {"high_value": 0.5}}}}
    (folder / "small.yaml").write_text(yaml.safe_dump(values))


@pytest.fixture(scope="module")
def first(checkout, environment, tmp_path_factory):
    """The checkout in which the first user has preprocessed."""
    folder = clone(checkout, tmp_path_factory.mktemp("first") / "msdiff")
    snakemake(folder, environment)
    return folder


@pytest.fixture
def second(checkout, first, tmp_path):
    """A fresh checkout, after the commands that the page prints."""
    folder = clone(checkout, tmp_path / "msdiff")
    page = (checkout / "docs/cluster.md").read_text()
    (commands,) = [block for block in re.findall(r"```\n(.*?)```", page, re.DOTALL) if "cp -as" in block]
    commands, named = re.subn(r"^FROM=\S+", f"FROM={first}", commands, flags=re.MULTILINE)
    assert named == 1
    subprocess.run(["bash", "-euc", commands], cwd=folder, check=True)
    return folder


def test_the_second_user_computes_nothing_again(second, first, environment):
    assert planned(second, environment) == {}
    assert "Nothing to be done" in snakemake(second, environment)
    assert (second / STEP / "image.nii.gz").is_symlink()
    assert (second / STEP / "image.nii.gz").samefile(first / STEP / "image.nii.gz")


def test_a_changed_setting_is_noticed_and_the_first_users_files_are_left_alone(second, first, environment):
    before = digests(first / "results")
    change_normalisation(second)
    assert planned(second, environment) == {"normalise": 1, "parcellate": 1, "stack_scans": 1}
    snakemake(second, environment)
    assert digests(first / "results") == before
    assert not (second / STEP / "image.nii.gz").is_symlink()
    assert '"high_value": 0.5' in (second / STEP / "image.nii.gz").read_text()


def test_without_the_records_a_changed_setting_would_go_unnoticed(second, environment):
    """Why the page copies .snakemake/metadata."""
    shutil.rmtree(second / ".snakemake/metadata")
    change_normalisation(second)
    assert planned(second, environment) == {}


def lists(*folds):
    """The stack with its index of slices, and folds."""
    return [
        STACK,
        "results/cohorts/phantom/slices.tsv",
        *(f"results/cohorts/phantom/folds/{fold}.tsv" for fold in folds),
    ]


def choose(folder, cohort):
    """Lay choices for the cohort over those of all tests here."""
    values = yaml.safe_load(SMALL)
    values["cohort"]["phantom"] |= cohort
    (folder / "small.yaml").write_text(yaml.safe_dump(values))


def test_a_changed_split_or_more_folds_rerun_no_imaging_and_no_stacking(checkout, environment, tmp_path):
    folder = clone(checkout, tmp_path / "msdiff")
    snakemake(folder, environment, targets=lists("split"))
    assert planned(folder, environment, targets=lists("split")) == {}
    choose(folder, {"split": {"train": 0, "validation": 1, "test": 1}})
    assert planned(folder, environment, targets=lists("split")) == {"assign_fold": 1}
    choose(folder, {"folds": {"backend": "k_fold", "k_fold": {"folds": 5, "seed": 0}}})
    assert planned(folder, environment, targets=lists("split")) == {}
    assert planned(folder, environment, targets=lists(*range(1, 6))) == {"assign_fold": 5}


def test_a_changed_column_split_of_the_sheet_reruns_no_stacking(checkout, environment, tmp_path):
    folder = clone(checkout, tmp_path / "msdiff")
    snakemake(folder, environment)
    sheet = folder / "sheet.tsv"
    rows = ["subject\tsession\tdays\tflair\tt1w\tlesion_mask\tsplit"]
    (folder / "scan.nii.gz").touch()

    def write(split, days=300):
        rows[1:] = [
            f"sub-{patient}\tses-{session}\t{session * days}\tscan.nii.gz\t\tscan.nii.gz\t{split * (patient == 1)}"
            for patient in (1, 2)
            for session in (0, 1)
        ]
        sheet.write_text("\n".join(rows) + "\n")

    choose(folder, {"sheet": "sheet.tsv"})
    write("train")
    snakemake(folder, environment, targets=lists("split"))
    write("test")
    assert planned(folder, environment, targets=lists("split")) == {"assign_fold": 1}
    write("test", days=301)
    assert planned(folder, environment) == {"check_sheet": 1, "stack_scans": 1}
