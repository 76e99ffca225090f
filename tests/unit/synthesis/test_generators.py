"""Generators by name: msdiff's own, and the one of docs/extending.md, which samples volumes, by the same commands."""

import json
import re
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from indexed import stack_files

from msdiff.__main__ import main
from msdiff.errors import BadSettings
from msdiff.networks.weights import load_weights, save_weights
from msdiff.sampling.shards import load_shard
from msdiff.settings import digest
from msdiff.synthesis import GENERATORS, described, generator_of

PAGE = (Path(__file__).parents[3] / "docs/extending.md").read_text().split("## A generator")[1].split("\n## ")[0]
CODE, CONFIG = (re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)[1] for kind in ("python", "yaml"))
SCORING = {"ring_width_mm": 6.0, "blur_sigma_mm": 3.0, "detection_threshold": 0.5}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The page's module, on Python's path for one test."""
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab/generator.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "mylab.generator"
    for name in ("mylab", "mylab.generator"):
        sys.modules.pop(name, None)


@pytest.fixture
def lists(stack):
    return ["--stack", *stack_files(stack.folder)]


@pytest.fixture
def run(stack, tmp_path, capsys):
    """A command's exit code, and what it said on stderr."""

    def command(name, *more, **options):
        flags = [str(part) for key, value in options.items() for part in (f"--{key.replace('_', '-')}", value)]
        return main([name, *map(str, more), *flags]), capsys.readouterr().err

    return command


@pytest.fixture
def weights(module, run, lists, detector_path, tmp_path):
    """The page's generator, trained by the command."""
    section = yaml.safe_load(CONFIG)["synthesis"]["mine"]
    section["training"] |= {"steps": 20, "log_every": 10, "checkpoint_every": 10}
    path = tmp_path / "weights.safetensors"
    code, told = run(
        "train-generator",
        *lists,
        auxiliary=detector_path,
        checkpoints=tmp_path / "checkpoints",
        weights=path,
        history=tmp_path / "history.csv",
        threads=1,
        settings=json.dumps(section | {"generator": "mine"}),
    )
    assert code == 0, told
    return path


@pytest.fixture
def sampled(run, lists, stack, weights, module, given, tmp_path):
    """Plan and sample a purpose: sampled(purpose, shard, shards, batch); the shard's folder."""

    def made(purpose, shard=0, shards=1, batch=2):
        plan, out = tmp_path / f"{purpose}.tsv", tmp_path / f"{purpose}-{shard}-{shards}"
        settings = json.dumps(given("plan"))
        told = run("plan-samples", *lists, purpose=purpose, item="volume", plan=plan, settings=settings)
        assert told[0] == 0, told
        own = {"generator": "mine", "module": module, "weights": weights}
        numbers = {"shard": shard, "shards": shards, "batch": batch, "threads": 1}
        options = (
            own | numbers | {"stack": stack.folder, "plan": plan, "out": out, "settings": json.dumps(given("sampler"))}
        )
        told = run("sample-images", **options)
        assert told[0] == 0, told
        return out

    return made


def test_volumes_are_the_same_in_any_batch_and_number_of_shards(sampled, stack):
    whole = load_shard(sampled("mass", batch=8))
    assert whole.shape("follow_up") == whole.shape("change_mask") == stack.grid.shape[::-1]
    assert (whole.manifest[["slice", "mask_slice"]] == -1).all(axis=None)
    assert set(whole.manifest["generator"]) == {"mine"}
    for shard in range(3):
        part = load_shard(sampled("mass", shard, 3, batch=shard + 1))
        for name in ("follow_up", "change_mask"):
            np.testing.assert_array_equal(part.stored[name], whole.stored[name][shard::3])
        pd.testing.assert_frame_equal(part.manifest, whole.manifest[shard::3].reset_index(drop=True))
    brain = stack.read("brain_mask", whole.manifest["baseline_row"]) > 0
    assert (whole.read("follow_up", slice(None))[~brain] == -1).all()
    mask = whole.read("change_mask", slice(None))
    assert mask.any(axis=(1, 2, 3)).all()
    assert not mask[~brain].any()
    assert (whole.manifest["baseline_subject"] != whole.manifest["mask_subject"]).all()


def test_volumes_are_exported_where_their_baseline_lies(sampled, run, stack, tmp_path):
    shard = sampled("held_out")
    told = run("export-samples", stack=stack.folder, shards=shard, license="CC0", out=tmp_path / "nifti")
    assert told[0] == 0, told
    image = nib.load(tmp_path / "nifti/sub-000000/anat/sub-000000_FLAIR.nii.gz")
    np.testing.assert_array_equal(image.affine, stack.grid.affine)
    np.testing.assert_allclose(image.get_fdata(), load_shard(shard).read("follow_up", 0).T, atol=1e-6)
    beside = json.loads((tmp_path / "nifti/sub-000000/anat/sub-000000_FLAIR.json").read_text())
    assert (beside["Description"].split(":")[0], beside["generator"]) == (
        "Synthetic follow-up volume from a generative model",
        "mine",
    )


def test_volumes_are_scored_as_slices_are(sampled, run, lists, stack, detector_path, tmp_path):
    scores = tmp_path / "scores.tsv"
    options = {"shards": sampled("held_out"), "detector": detector_path, "threads": 1, "scores": scores}
    told = run("score-images", *lists, **options, settings=json.dumps(SCORING))
    assert told[0] == 0, told
    table = pd.read_csv(scores, sep="\t").set_index(["generator", "region"])
    assert {"mine", "copy_baseline", "paste_lesion", "real_follow_up"} <= {name for name, _ in table.index}
    # One row for each of the two held-out pairs, over all voxels of a volume.
    row = load_shard(options["shards"]).manifest.iloc[0]
    baseline, real = (stack.read("flair", row[name]).astype(float) for name in ("baseline_row", "follow_up_row"))
    brain = stack.read("brain_mask", row["baseline_row"]) > 0
    assert len(table.loc[("mine", "lesion")]) == 2
    assert table.loc[("copy_baseline", "brain"), "mae"].iloc[0] == pytest.approx(
        np.abs(real - baseline)[brain].mean() / 2
    )


def test_volumes_are_checked_for_leakage(sampled, run, lists, stack, weights, tmp_path):
    listed = stack.slices[stack.slices["split"] == "train"].assign(kind="real").reset_index(drop=True)
    listed.to_csv(tmp_path / "slices.tsv", sep="\t", index=False)
    read = pd.read_csv(tmp_path / "slices.tsv", sep="\t", keep_default_na=False)
    auxiliary = tmp_path / "auxiliary.safetensors"
    save_weights({"a": torch.zeros(1)}, {"kind": "detector", "slices": digest(read.to_csv(index=False))}, auxiliary)
    options = {"plan": tmp_path / "mass.tsv", "shards": sampled("mass"), "auxiliary": auxiliary}
    options |= {"auxiliary_slices": tmp_path / "slices.tsv", "out": tmp_path / "leakage.json"}
    told = run("check-leakage", *lists, **options, generator=weights)
    assert told[0] == 0, told
    record = json.loads((tmp_path / "leakage.json").read_text())
    assert (record["leaked_patients"], record["n_samples"], record["trained_on"]) == (0, 8, 4)
    tensors, description = load_weights(weights)
    save_weights(tensors, description | {"patients": ["sub-0007"]}, weights)
    code, told = run("check-leakage", *lists, **options, generator=weights)
    assert code == 2
    assert "patient sub-0007 of test was trained on" in told


def test_a_plan_of_slices_is_refused_for_a_generator_of_volumes(run, lists, weights, module, stack, given, tmp_path):
    plan = tmp_path / "slices.tsv"
    run("plan-samples", *lists, purpose="mass", plan=plan, settings=json.dumps(given("plan")))
    options = {"stack": stack.folder, "plan": plan, "weights": weights, "generator": "mine", "module": module}
    options |= {"shard": 0, "shards": 1, "batch": 2, "threads": 1, "out": tmp_path / "out"}
    code, told = run("sample-images", **options, settings=json.dumps(given("sampler")))
    assert (code, "expected a plan of volumes" in told) == (2, True)


@pytest.mark.parametrize("name", ["os:system", "trace", "trace:sample", "mylab.trace", ["os"], None])
def test_a_name_in_a_weights_file_is_never_imported(name, run, lists, weights, stack, given, tmp_path):
    trace = tmp_path / "imported"
    for file in ("trace.py", "mylab/trace.py"):
        (tmp_path / file).write_text(f"open({str(trace)!r}, 'w').close()\ntrain = sample = print\n")
    tensors, description = load_weights(weights)
    evil, plan = tmp_path / "evil.safetensors", tmp_path / "plan.tsv"
    save_weights(tensors, description | {"generator": name, "module": "trace"}, evil)
    settings = json.dumps(given("plan"))
    run("plan-samples", *lists, purpose="mass", item="volume", plan=plan, settings=settings)
    options = {"stack": stack.folder, "plan": plan, "weights": evil, "shard": 0, "shards": 1, "batch": 2, "threads": 1}
    options |= {"out": tmp_path / "out", "settings": json.dumps(given("sampler"))}
    before = set(sys.modules)
    for asked in ([], ["--generator", "mine", "--module", "mylab.generator"], ["--generator", "long_ms_diff"]):
        code, told = run("sample-images", *asked, **options)
        assert code == 2
        [line] = [line for line in told.splitlines() if "error:" in line]
        assert "evil.safetensors: expected weights of" in line
    assert not trace.exists()
    assert not {"trace", "mylab.trace"} & (set(sys.modules) - before)
    assert not (tmp_path / "out").exists()


def test_weights_of_another_generator_than_asked_for_are_refused(run, weights, stack, given, sampled, tmp_path):
    sampled("mass")
    options = {"stack": stack.folder, "plan": tmp_path / "mass.tsv", "weights": weights, "generator": "long_ms_diff"}
    options |= {"shard": 0, "shards": 1, "batch": 2, "threads": 1, "out": tmp_path / "out"}
    code, told = run("sample-images", **options, settings=json.dumps(given("sampler")))
    assert code == 2
    assert "expected weights of the generator long_ms_diff, got those of 'mine'" in told


def test_the_table_is_complete_and_unknown_names_and_modules_are_told(module, tmp_path):
    for name in GENERATORS:
        found = generator_of(name)
        assert callable(found.train)
        assert callable(found.sample)
    assert generator_of("mine", module).__name__ == module
    (tmp_path / "half.py").write_text("def train(): ...\n")
    for name, location, message in [
        ("mine", None, "expected one of long_ms_diff, or one of your own with its module, got 'mine'"),
        ("os:system", None, "got 'os:system'"),
        ("long_ms_diff", module, "expected another name for the generator of mylab.generator"),
        ("mine", "mylab.nothing", "cannot import the module 'mylab.nothing'"),
        ("mine", "os:system", "cannot import the module 'os:system'"),
        ("mine", "", "cannot import the module ''"),
        ("mine", "half", "expected half to have train and sample, got no sample"),
    ]:
        with pytest.raises(BadSettings, match=message):
            generator_of(name, location)


def test_a_description_without_what_samples_and_checks_need_is_told():
    whole = {"settings": {"contrast": "flair", "scalars": "scan"}, "patients": ["sub-1"]}
    assert described(whole, "mine", "volume") == whole | {"kind": "generator", "generator": "mine", "item": "volume"}
    for key in ("settings", "patients"):
        less = {name: value for name, value in whole.items() if name != key}
        with pytest.raises(BadSettings, match="mine: expected a description with"):
            described(less, "mine", None)
