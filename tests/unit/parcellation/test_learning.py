from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from msdiff.config_files import merged_config
from msdiff.errors import BadInput, OutOfTime
from msdiff.parcellation import learning
from msdiff.parcellation.label_maps import CODES, POSITIONS, read_label_map
from msdiff.parcellation.learning import (
    LABELS,
    TISSUES,
    Parcellation,
    ParcellatorSettings,
    dice_of,
    frequencies,
    segmentation_loss,
    summed_over_tissues,
    target_of,
    train_parcellator,
    unfinished,
)
from msdiff.parcellation.painting import Painted
from msdiff.parcellation.regions import LABELS as NAMES
from msdiff.settings import check

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """A folder of three small heads: left and right white matter in cortex in fluid."""
    folder = tmp_path_factory.mktemp("maps")
    for number, name in enumerate(("a", "b", "c")):
        codes = np.zeros((60, 56, 58), dtype=np.int32)
        for margin, left, right in ((6, 511, 511), (9, 24, 24), (12, 3, 42), (17 + number, 2, 41), (24, 4, 43)):
            inner = slice(margin, 56 - margin)
            codes[margin:30, inner, inner], codes[30 : 60 - margin, inner, inner] = left, right
        nib.Nifti1Image(codes, np.eye(4)).to_filename(folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def settings(maps):
    section = merged_config(size="paper")["parcellation"]["training"]
    section |= {"label_maps": str(maps), "held_out": ["c"], "phantom_share": 0.0, "validation_images": 2}
    section["network"] = {"features": 2, "levels": 3, "convolutions": 1}
    section["painting"] |= {"crop_voxels": [16, 20], "spacing_mm": 2.5}
    section["training"] |= {"steps": 6, "checkpoint_every": 1, "log_every": 2, "validate_every": 3, "precision": "fp32"}
    return check(ParcellatorSettings, section)


def train(settings, folder, minutes=None):
    torch.set_num_threads(1)
    return train_parcellator(settings, folder, minutes, torch.device("cpu"))


def test_labels_are_those_of_the_stage():
    assert set(LABELS) == set(NAMES)
    assert len(LABELS) == 33


def test_targets_merge_lesions_and_plexus_and_leave_out_the_head():
    codes = np.arange(len(CODES), dtype=np.uint8)
    painted = Painted(np.zeros(len(CODES)), codes, np.zeros(len(CODES), bool), False)
    target = dict(zip(CODES, (LABELS[position] for position in target_of(painted, False)), strict=True))
    assert target[25] == 2
    assert target[57] == 41
    assert target[163] == 43
    assert all(target[code] == 0 for code in CODES if code >= 500 or code in (30, 62, 72, 85))
    assert all(target[code] == code for code in LABELS)


def test_mirrored_targets_change_sides():
    codes = np.arange(len(CODES), dtype=np.uint8)
    painted = Painted(np.zeros(len(CODES)), codes, np.zeros(len(CODES), bool), True)
    target = dict(zip(CODES, (LABELS[position] for position in target_of(painted, False)), strict=True))
    assert (target[2], target[42], target[25], target[14], target[24]) == (41, 3, 41, 14, 24)
    for code in LABELS:
        assert target[target[code]] == code


def test_tissue_targets():
    codes = np.arange(len(CODES), dtype=np.uint8)
    painted = Painted(np.zeros(len(CODES)), codes, np.zeros(len(CODES), bool), False)
    target = dict(zip(CODES, (TISSUES[position] for position in target_of(painted, True)), strict=True))
    assert (target[2], target[42], target[24], target[511]) == ("white_matter", "grey_matter", "csf", "background")


def test_tissue_posteriors_sum_over_all_structures():
    logarithms = torch.log_softmax(torch.randn(33, 50, generator=torch.Generator().manual_seed(0)), dim=0)
    tissues = summed_over_tissues(logarithms)
    assert tissues.shape == (4, 50)
    assert torch.allclose(tissues.exp().sum(dim=0), torch.ones(50), atol=1e-5)
    white = logarithms.exp()[[LABELS.index(code) for code in (2, 41, 7, 46, 16, 28, 60, 13, 52)]].sum(dim=0)
    assert torch.allclose(tissues[TISSUES.index("white_matter")].exp(), white, atol=1e-6)


def test_loss_against_plain_arithmetic():
    generator = torch.Generator().manual_seed(0)
    logarithms = torch.log_softmax(torch.randn(4, 200, generator=generator), dim=0)
    target = torch.randint(0, 3, (200,), generator=generator)
    entropy, dice = segmentation_loss(logarithms, target)
    posteriors = logarithms.exp().numpy()
    one_hot = np.eye(4)[target.numpy()].T
    assert float(entropy) == pytest.approx(-np.log((posteriors * one_hot).sum(axis=0)).mean(), rel=1e-5)
    overlaps = 2 * (posteriors * one_hot).sum(axis=1) / (posteriors.sum(axis=1) + one_hot.sum(axis=1))
    # The fourth label does not occur.
    assert float(dice) == pytest.approx(1 - overlaps[:3].mean(), rel=1e-5)


def test_loss_of_the_truth_is_nothing():
    target = torch.tensor([0, 1, 1, 2])
    logarithms = torch.log(torch.eye(3)[target].T + 1e-9)
    assert segmentation_loss(logarithms, target).abs().max() < 1e-5


def test_dice():
    found, target = torch.tensor([1, 1, 0, 0]), torch.tensor([1, 0, 0, 1])
    assert dice_of(found, target, 1) == 0.5
    assert np.isnan(dice_of(found, target, 2))


def test_frequencies_are_of_the_brain_and_alike_left_and_right(maps):
    shares = dict(zip(LABELS, frequencies([read_label_map(maps / "a.nii.gz")]), strict=True))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares[2] == shares[41] > 0.1
    assert shares[24] < 0.01
    assert shares[10] > 0


def test_batches_hold_images_and_targets_of_one_size(maps, settings):
    task = Parcellation([read_label_map(maps / f"{name}.nii.gz") for name in "ab"], [], settings)
    batch = task.batch(np.array([0, 1, 1]), np.random.default_rng(0))
    side = batch["image"].shape[-1]
    assert side in (16, 20)
    assert batch["image"].shape == (3, 1, side, side, side)
    assert batch["target"].shape == (3, side, side, side)
    assert int(batch["target"].max()) < 33
    assert not batch["tissues"].any()


def test_phantom_share_of_the_draws(maps, settings):
    heads = [read_label_map(maps / f"{name}.nii.gz") for name in "ab"]
    phantom = heads[0]._replace(tissues_only=True)
    task = Parcellation([*heads, phantom], [], settings.model_copy(update={"phantom_share": 0.2}))
    assert task.weights == pytest.approx([0.4, 0.4, 0.2])
    batch = task.batch(np.array([2, 0]), np.random.default_rng(0))
    assert batch["tissues"].tolist() == [True, False]
    assert int(batch["target"][0].max()) < len(TISSUES)
    assert torch.isfinite(task.loss(batch, torch.Generator())["loss"])


def test_training_learns_and_tells_of_the_held_out_map(settings, tmp_path):
    longer = settings.training.model_copy(update={"steps": 40, "log_every": 10, "validate_every": 40})
    trained = train(settings.model_copy(update={"training": longer}), tmp_path)
    description = trained.description
    assert trained.history["loss"].iloc[-1] < 0.9 * trained.history["loss"].iloc[0]
    assert 0 <= trained.history["validation_white_matter"].iloc[-1] <= 1
    assert description["training"]["label_maps"] == ["a", "b"]
    assert description["training"]["held_out"] == ["c"]
    assert description["labels"] == list(LABELS)
    assert description["spacing_mm"] == 2.5
    assert str(settings.label_maps) not in str(description)


def test_stopped_training_continues_bit_for_bit(settings, tmp_path, monkeypatch):
    whole = train(settings, tmp_path / "whole")
    loss = Parcellation.loss
    calls = []

    def stop_after_two(self, batch, generator):
        calls.append(1)
        if len(calls) == 3:
            raise OutOfTime("test")
        return loss(self, batch, generator)

    monkeypatch.setattr(Parcellation, "loss", stop_after_two)
    with pytest.raises(OutOfTime):
        train(settings, tmp_path / "stopped")
    tensors, description = unfinished(tmp_path / "stopped", settings)
    assert description["training"]["steps"] == 2
    assert not torch.equal(tensors["likelihood.weight"], whole.tensors["likelihood.weight"])
    monkeypatch.setattr(Parcellation, "loss", loss)
    resumed = train(settings, tmp_path / "stopped")
    assert resumed.description["training"]["steps"] == 6
    assert all(torch.equal(resumed.tensors[name], tensor) for name, tensor in whole.tensors.items())


def test_nothing_to_export_before_the_first_checkpoint(settings, tmp_path):
    with pytest.raises(BadInput, match="checkpoints"):
        unfinished(tmp_path, settings)


def test_commands_train_and_export(settings, tmp_path):
    from msdiff.__main__ import main

    weights, keras = tmp_path / "weights.safetensors", tmp_path / "keras.h5"
    common = ["--checkpoints", tmp_path / "checkpoints", "--settings", settings.model_dump_json()]
    outputs = ["--weights", weights, "--history", tmp_path / "history.csv", "--threads", "1"]
    assert main(["train-parcellator", *map(str, common + outputs)]) == 0
    assert main(["export-parcellator", "--weights", str(weights), "--out", str(keras)]) == 0
    assert main(["export-parcellator", *map(str, common), "--out", str(tmp_path / "again.h5")]) == 0
    assert (tmp_path / "again.h5").read_bytes() == keras.read_bytes()
    assert main(["export-parcellator", *map(str, common[:2]), "--out", str(keras)]) == 2


def test_every_code_has_a_target():
    assert set(POSITIONS) == set(CODES)
    assert max(max(table) for table in learning._TARGETS.values()) == 32
