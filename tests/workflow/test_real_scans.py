"""The chain on real scans: the three patients of open_ms_data, at the demo's sizes, with trainings of a few steps."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from msdiff.stack.reading import load_stack

SHARED = os.environ.get("MSDIFF_SHARED")
pytestmark = [
    pytest.mark.workflow,
    pytest.mark.slow,
    pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED (a folder with data/open_ms_data) is not set"),
]
# Enough to show that every step takes what the step before it made of real scans; what is learned is no matter here.
FEW_STEPS = """
synthesis:
  auxiliary: {detector: {training: {steps: 4, warm_up_steps: 1, checkpoint_every: 4}}}
  long_ms_diff: {training: {steps: 4, warm_up_steps: 1, checkpoint_every: 4}}
  ablation:
    common: {training: {steps: 4, warm_up_steps: 1, checkpoint_every: 4}}
    variants: {without_auxiliary_loss: null, without_adaptive_weight: null, without_dropout: null}
  plan: {mass: {count: 48}, held_out: {slices_per_pair: 2}}
  sampler: {steps: 2}
detection:
  mixes: ["1-0", "1-1"]
  detectors:
    unet: {training: {steps: 4, warm_up_steps: 1, checkpoint_every: 4}}
    bit_resnet50: {training: {steps: 4, warm_up_steps: 1, checkpoint_every: 4}}
privacy: {embedding: {training: {steps: 4, warm_up_steps: 1, checkpoint_every: 4}}}
"""
CONFIGS = ["cohorts/open_ms.yaml", "few_steps.yaml"]
STACK = [
    "results/preprocessed/open_ms/stack",
    "results/cohorts/open_ms/slices.tsv",
    "results/cohorts/open_ms/folds/split.tsv",
]


def snakemake(folder, environment, *targets):
    command = ["snakemake", "--profile", "profiles/demo", "--configfile", *CONFIGS, "--", *targets]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def real(checkout, environment, tmp_path_factory):
    """A checkout of its own in which the real scans are a stack."""
    folder = tmp_path_factory.mktemp("real_scans") / "msdiff"
    shutil.copytree(checkout, folder, symlinks=True, ignore=shutil.ignore_patterns("results", ".snakemake"))
    (folder / "few_steps.yaml").write_text(FEW_STEPS)
    root, sheet = Path(str(SHARED)) / "data/open_ms_data", "cohorts/open_ms_scans.tsv"
    index = [sys.executable, "-m", "msdiff", "index-scans", "--source", "open_ms", "--root", str(root), "--out", sheet]
    subprocess.run(index, cwd=folder, env=environment, check=True)
    run = snakemake(folder, environment, *STACK)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-8000:]
    return folder


@pytest.fixture(scope="module")
def stack(real):
    return load_stack(*(real / path for path in STACK))


def pairs_of(stack):
    """Subject and rows of baseline and follow-up of each pair."""
    pairs = stack.slices.drop_duplicates("pair")
    return list(zip(pairs["subject"], pairs["baseline_row"], pairs["follow_up_row"], strict=True))


def test_every_patient_is_there_and_split(stack):
    assert [subject for subject, _, _ in pairs_of(stack)] == ["sub-01", "sub-03", "sub-12"]
    assert stack.scans["days"].tolist() == [0, 203, 0, 671, 0, 81]
    splits = stack.scans.drop_duplicates("subject")["split"].tolist()
    assert sorted(splits) == ["test", "train", "train"]


def test_brains_have_the_size_of_brains(stack):
    brains = stack.array("brain_mask")
    litres = [brain.sum() * stack.grid.voxel_volume_mm3 / 1e6 for brain in brains]
    assert min(litres) > 1.0
    assert max(litres) < 2.0
    # White matter is most of what is inside, on either side about as much.
    for regions in stack.array("regions")[::2]:
        left, right = ((regions == label).sum() for label in (2, 41))
        assert 0.85 < left / right < 1.18


def test_scans_of_a_pair_lie_on_each_other(stack):
    """Patient 03's scanners differ so much that its floor is lower."""
    flair, brains = stack.array("flair"), stack.array("brain_mask")
    for subject, baseline, follow_up in pairs_of(stack):
        inside = (brains[baseline] > 0) & (brains[follow_up] > 0)
        first, second = (flair[row][inside].astype(float) for row in (baseline, follow_up))
        assert np.corrcoef(first, second)[0, 1] > (0.6 if subject == "sub-03" else 0.9), subject


def test_change_is_in_the_brain_and_where_the_scans_differ(stack):
    flair, brains, changes = (stack.array(name) for name in ("flair", "brain_mask", "change_mask"))
    for subject, baseline, follow_up in pairs_of(stack):
        change, brain = changes[follow_up] > 0, brains[follow_up] > 0
        assert 1.0 < change.sum() * stack.grid.voxel_volume_mm3 / 1e3 < 20.0, subject
        assert not (change & ~brain).any()
        difference = np.abs(flair[follow_up].astype(float) - flair[baseline].astype(float))
        if subject != "sub-03":
            assert difference[change].mean() > 3 * difference[brain & ~change].mean(), subject


def test_missing_contrast_is_empty_and_stops_nothing(stack):
    contrasts = stack.scans["contrasts"].tolist()
    assert contrasts[2] == "flair t2w"
    assert set(contrasts[:2] + contrasts[3:]) == {"flair t1w t2w"}
    t1w = stack.array("t1w")
    assert (t1w[2] == -1).all()
    assert all(image.std() > 0.1 for row, image in enumerate(t1w.astype(float)) if row != 2)


def test_chain_goes_on_to_a_report_that_warns(real, environment):
    run = snakemake(real, environment, "all")
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-8000:]
    page = (real / "results/report.html").read_text()
    assert page.index("proves nothing") < page.index('id="run"')
    with (real / "results/tables/augmentation.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "msdiff"]
    assert {row["n"] for row in rows} == {"1"}
    assert {row["real_synthetic"] for row in rows} == {"1:0", "1:1"}
    with (real / "results/tables/quality.csv").open() as file:
        flags = {(row["subject"], row["session"]): row["flag"] for row in csv.DictReader(file)}
    # Two scanners of patient 03 do not agree, and the run says so.
    assert "correlation with the session before" in flags["sub-03", "ses-study2"]
    assert f"sub-03 ses-study2: {flags['sub-03', 'ses-study2']}" in page
    assert not any(flags["sub-12", session] for session in ("ses-study1", "ses-study2"))
    assert len({float(row["correct"]) + float(row["false_negatives"]) for row in rows}) == 1
