import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from indexed import stack_files
from torch.nn import functional

from msdiff.__main__ import main
from msdiff.detection.detectors import (
    AugmentationSettings,
    DetectorSettings,
    DetectorTask,
    LossSettings,
    SlicePairs,
    augment,
    change_probability,
    detection_loss,
    train_detector,
)
from msdiff.detection.mixes import MixSettings, mix_slices
from msdiff.errors import BadInput
from msdiff.networks.weights import load_weights
from msdiff.settings import check

UNET = {"widths": [8, 16, 32], "convolutions": [1, 1, 1], "dropout": 0.0}
BIT = {
    **{"stem_channels": 8, "stem_stride": 2, "widths": [8, 16, 16], "depths": [1, 1, 1], "channels": 16, "tokens": 4},
    **{
        "encoder_layers": 1,
        "decoder_layers": 1,
        "heads": 2,
        "head_channels": 8,
        "mlp_channels": 16,
        "pretrained": None,
    },
}
TRAINING = {
    **{
        "steps": 250,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "weight_decay": 0.01,
        "warm_up_steps": 0,
        "decay": "linear",
    },
    **{"ema_decay": 0.98, "clip_norm": 1.0, "precision": "fp32", "log_every": 50, "checkpoint_every": 1000},
    **{"validate_every": 50, "keep": "best", "micro_batches": 1},
}
SETTINGS = {
    "architecture": "unet",
    "network": UNET,
    "contrast": "flair",
    "loss": {"no_change_weight": 0.1, "change_weight": 0.9, "dice_weight": 1.0, "dice_smoothing": 1.0},
    "augmentation": {"flip_probability": 0.5, "largest_scale": 1.2, "largest_blur_voxels": 0.5},
    "positive_share": None,
    "threshold": 0.5,
    "training": TRAINING,
}
DETECTION = {
    **{"threshold": 0.5, "min_lesion_volume_mm3": 100, "connectivity": 26, "matcher": "overlap", "min_overlap": 0.6},
    "dice_without_lesions": "leave_out",
    "msseg2": {"alpha": 0.1, "beta": 0.7, "gamma": 0.65, "min_lesion_volume_mm3": 54},
}
BY_SLICE = MixSettings(unit="slice", mode="add")


def settings(**changes) -> DetectorSettings:
    training = TRAINING | changes.pop("training", {})
    return check(DetectorSettings, SETTINGS | changes | {"training": training})


def task(stack, shards=(), mix="1-0", **changes) -> DetectorTask:
    return DetectorTask(stack, mix_slices(stack, mix, shards, BY_SLICE, 0), settings(**changes), torch.nn.Identity())


def test_slices_are_those_of_the_stack_and_of_the_shards(stack, shards):
    listed = mix_slices(stack, "1-1", shards, BY_SLICE, 0)
    slices = SlicePairs(stack, listed, "flair")
    places = np.array([3, len(listed) - 1])
    baseline, follow_up, change = slices.read(places)
    for item, place in enumerate(places):
        row = listed.iloc[place]
        np.testing.assert_array_equal(baseline[item], stack.array("flair")[row["baseline_row"], row["slice"]])
    np.testing.assert_array_equal(
        follow_up[0], stack.array("flair")[listed.iloc[3]["follow_up_row"], listed.iloc[3]["slice"]]
    )
    np.testing.assert_array_equal(change.any(axis=(1, 2)), slices.positive()[places])
    # The painted squares are where the synthetic follow-up differs from its baseline.
    np.testing.assert_array_equal(np.abs(follow_up[1] - baseline[1]) > 0.01, change[1])


def test_shards_of_another_grid_are_refused(stack, shards):
    listed = mix_slices(stack, "1-1", shards, BY_SLICE, 0)
    other = stack._replace(folder=stack.folder)
    slices = SlicePairs(other, listed, "flair")
    assert len(slices) == len(listed)
    from msdiff.detection.detectors import _check_shards

    with pytest.raises(BadInput, match="stack's shape"):
        _check_shards(slices.shards, (32, 32))


def test_the_share_of_slices_with_change(stack):
    plain, half = task(stack), task(stack, positive_share=0.5)
    positive = plain.slices.positive()
    assert 0 < positive.mean() < 1
    assert np.unique(plain.weights).tolist() == [1]
    assert half.weights[positive].sum() == pytest.approx(half.weights[~positive].sum())


def test_a_batch_is_a_pure_function_of_its_generator(stack):
    detector = task(stack)
    one, two, other = (detector.batch(np.array([0, 5, 9]), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert {name: tuple(value.shape) for name, value in one.items()} == dict.fromkeys(one, (3, 1, 64, 64))
    for name, value in one.items():
        assert torch.equal(value, two[name])
    assert not torch.equal(one["baseline"], other["baseline"])


def augmentation(**changes) -> AugmentationSettings:
    return AugmentationSettings(**{"flip_probability": 0.0, "largest_scale": 1.0, "largest_blur_voxels": 0.0} | changes)


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, 2, Y, X) of which the first channel is the mask (B, 1, Y, X)."""
    generator = torch.Generator().manual_seed(0)
    mask = functional.max_pool2d((torch.rand(6, 1, 32, 32, generator=generator) > 0.98).float(), 5, 1, 2)
    return torch.cat([mask, torch.rand(6, 1, 32, 32, generator=generator)], dim=1), mask


def test_without_variation_nothing_changes(pictures):
    images, mask = augment(*pictures, augmentation(), np.random.default_rng(0))
    torch.testing.assert_close(images, pictures[0])
    torch.testing.assert_close(mask, pictures[1])


def test_certain_flips_turn_the_slice_around(pictures):
    images, mask = augment(*pictures, augmentation(flip_probability=1.0), np.random.default_rng(0))
    torch.testing.assert_close(images, pictures[0].flip(2, 3))
    torch.testing.assert_close(mask, pictures[1].flip(2, 3))


def test_mask_and_images_move_together(pictures):
    images, mask = augment(*pictures, augmentation(flip_probability=0.5, largest_scale=1.2), np.random.default_rng(3))
    assert set(mask.unique().tolist()) == {0, 1}
    # Bilinear and nearest sampling of one picture are on the same side of a half wherever they are far from its edge.
    assert ((images[:, :1] > 0.5) == (mask > 0.5)).float().mean() > 0.97
    assert images[:, 1].mean() == pytest.approx(0.5, abs=0.03)
    assert mask.mean() > 0.8 * pictures[1].mean()


def test_blur_is_the_gaussian_of_scipy(pictures):
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(4)
    images, mask = augment(*pictures, augmentation(largest_blur_voxels=1.0), rng)
    replay = np.random.default_rng(4)
    replay.random((6, 2)), replay.uniform(1, 1, 6), replay.uniform(-1, 1, (6, 2))
    for item, sigma in enumerate(replay.uniform(0, 1, 6)):
        expected = gaussian_filter(pictures[0][item, 1].numpy(), sigma, mode="nearest", radius=3)
        np.testing.assert_allclose(images[item, 1], expected, atol=1e-5)
    torch.testing.assert_close(mask, pictures[1])


LOSS = LossSettings(no_change_weight=0.001, change_weight=0.999, dice_weight=1.0, dice_smoothing=1.0)


def test_the_cross_entropy_is_that_of_torch(pictures):
    change = pictures[1]
    logits = torch.randn(change.shape, generator=torch.Generator().manual_seed(1))
    both = torch.cat([torch.zeros_like(logits), logits], dim=1)
    expected = functional.cross_entropy(both, change[:, 0].long(), weight=torch.tensor([0.001, 0.999]))
    assert detection_loss(logits, change, LOSS)["cross_entropy"] == pytest.approx(float(expected), rel=1e-4)


def test_the_loss_of_a_perfect_answer_and_of_its_opposite(pictures):
    change = pictures[1]
    sure = (2 * change - 1) * 50
    assert detection_loss(sure, change, LOSS)["loss"] == pytest.approx(0, abs=1e-5)
    assert detection_loss(-sure, change, LOSS)["soft_dice"] == pytest.approx(1, abs=0.01)
    assert detection_loss(-sure, change, LOSS)["cross_entropy"] == pytest.approx(50)
    nothing = torch.zeros_like(change)
    assert detection_loss(nothing - 50, nothing, LOSS)["loss"] == pytest.approx(0, abs=1e-5)


def test_prediction_does_not_depend_on_the_batch(stack, tmp_path, monkeypatch):
    from msdiff.networks import detectors

    network = detectors.build("unet", UNET).eval()
    images = np.array(stack.array("flair")[0], dtype=np.float32)
    whole = change_probability(network, images, images[::-1].copy())
    monkeypatch.setattr("msdiff.detection.detectors.PREDICTION_BATCH", 3)
    np.testing.assert_allclose(change_probability(network, images, images[::-1].copy()), whole, atol=1e-6)
    assert change_probability(network, images[:0], images[:0]).shape == (0, 64, 64)


def test_resumed_training_equals_uninterrupted_training(stack, tmp_path):
    short = {"steps": 4, "checkpoint_every": 2, "validate_every": 2, "log_every": 1}
    listed = mix_slices(stack, "1-0", [], BY_SLICE, 0)

    def run(folder, **more):
        options = {"seed": 3, "checkpoints": tmp_path / folder, "minutes": None, "device": "cpu"}
        return train_detector(stack, listed, settings(training=short), **options | more).tensors

    whole = run("whole")
    run("parts")
    (last,) = (tmp_path / "parts").glob("*/step-000000004.pt")
    last.unlink()
    for name, tensor in run("parts").items():
        assert torch.equal(tensor, whole[name])
    assert any(not torch.equal(tensor, whole[name]) for name, tensor in run("other", seed=4).items())


def test_a_changed_set_of_other_patients_trains_nothing_anew(stack, tmp_path):
    """Other patients to validate on do, for they choose the weights that are kept."""
    listed = mix_slices(stack, "1-0", [], BY_SLICE, 0)

    def checkpoints(**moved):
        slices = stack.slices.assign(split=stack.slices["split"].replace(moved))
        options = {"seed": 3, "checkpoints": tmp_path, "minutes": None, "device": "cpu"}
        chosen = settings(training={"steps": 2, "validate_every": 2, "log_every": 1})
        train_detector(stack._replace(slices=slices), listed, chosen, **options)
        return len(list(tmp_path.iterdir()))

    assert [checkpoints(), checkpoints(test="unused"), checkpoints(test="validation")] == [1, 1, 2]


@pytest.mark.slow
def test_two_processes_train_as_one(stack, tmp_path):
    """By the command, as a rule calls it; also what they say of bad input."""
    listed = mix_slices(stack, "1-0", [], BY_SLICE, 0)
    listed.to_csv(tmp_path / "listed.tsv", sep="\t", index=False)
    chosen = settings(training={"steps": 3, "validate_every": 3, "micro_batches": 2}).model_dump_json()

    def run(folder, *more):
        folder = tmp_path / folder
        outputs = ["--checkpoints", folder / "checkpoints", "--weights", folder / "w", "--history", folder / "h.csv"]
        inputs = ["--stack", *stack_files(stack.folder), "--slices", tmp_path / "listed.tsv"]
        options = ["--seed", "0", "--threads", "2", "--settings", chosen, *more]
        command = [sys.executable, "-m", "msdiff", "train-detector", *map(str, [*inputs, *outputs, *options])]
        hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(command, env=hidden, capture_output=True, text=True)

    one, two = run("one"), run("two", "--processes", "2")
    assert one.returncode == two.returncode == 0
    assert one.stderr.count("training to step 3") == two.stderr.count("training to step 3") == 1
    expected, description = load_weights(tmp_path / "one/w")
    found, description_of_two = load_weights(tmp_path / "two/w")
    assert description_of_two == description
    assert found.keys() == expected.keys()
    # Not weight by weight: what has no gradient but rounding (a bias before a batch norm), Adam makes as large as any.
    histories = [pd.read_csv(tmp_path / name / "h.csv") for name in ("one", "two")]
    assert list(histories[0]) == list(histories[1])
    for column in ("step", "loss", "soft_dice", "gradient_norm", "validation_score"):
        np.testing.assert_allclose(histories[0][column], histories[1][column], rtol=1e-3)

    (tmp_path / "listed.tsv").unlink()
    refused = run("two", "--processes", "2")
    assert refused.returncode == 2
    (line,) = [line for line in refused.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d msdiff", line)]
    assert line.startswith(f"msdiff train-detector: error: {tmp_path / 'listed.tsv'}")


def test_the_best_needs_validation_patients(stack, tmp_path):
    alone = stack._replace(slices=stack.slices[stack.slices["split"] != "validation"])
    listed = mix_slices(alone, "1-0", [], BY_SLICE, 0)
    options = {"seed": 0, "checkpoints": tmp_path, "minutes": None, "device": "cpu"}
    with pytest.raises(BadInput, match="split validation"):
        train_detector(alone, listed, settings(), **options)
    last = settings(training={"steps": 2, "keep": "last", "validate_every": 1})
    assert len(train_detector(alone, listed, last, **options).history) > 0


@pytest.mark.parametrize(
    ("architecture", "network", "mix", "steps", "least_dice"),
    [("unet", UNET, "1-0", 250, 0.3), ("bit_resnet50", BIT, "0-1", 20, 0.0)],
)
def test_from_slices_to_scores(stack, shards, tmp_path, architecture, network, mix, steps, least_dice):
    """The three commands in a row; the UNet learns to find lesions in patients it has never seen."""
    listed, weights, scores = tmp_path / "listed.tsv", tmp_path / "weights.safetensors", tmp_path / "scores"
    chosen = settings(architecture=architecture, network=network, training={"steps": steps})
    common = ["--stack", *stack_files(stack.folder)]
    mixing = [
        "--mix",
        mix,
        "--shards",
        *map(str, shards),
        "--seed",
        "0",
        "--out",
        str(listed),
        "--settings",
        BY_SLICE.model_dump_json(),
    ]
    assert main(["mix-slices", *common, *mixing]) == 0
    training = ["--slices", str(listed), "--checkpoints", str(tmp_path / "checkpoints"), "--weights", str(weights)]
    training += ["--history", str(tmp_path / "history.csv"), "--seed", "0", "--threads", "1"]
    began = time.monotonic()
    assert main(["train-detector", *common, *training, "--settings", chosen.model_dump_json()]) == 0
    assert time.monotonic() - began < 30
    keys = ["generator=long_ms_diff", "architecture=unet", "mix=1-0", "seed=0"]
    detecting = ["--slices", str(listed), "--keys", *keys]
    detecting += ["--weights", str(weights), "--split", "test", "--out", str(scores), "--threads", "1"]
    assert main(["detect-lesions", *common, *detecting, "--settings", json.dumps(DETECTION)]) == 0
    train = stack.slices[stack.slices["split"] == "train"]
    assert load_weights(weights)[1]["patients"] == sorted(train["subject"].unique())
    patients = pd.read_csv(scores / "patients.tsv", sep="\t")
    pooled = patients[["tp", "fp", "fn"]].sum()
    assert 2 * pooled["tp"] / (2 * pooled["tp"] + pooled["fp"] + pooled["fn"]) >= least_dice
    assert len(pd.read_csv(tmp_path / "history.csv")) >= 1
    # What a table's rows are told apart by stands in every row.
    told = patients[["generator", "architecture", "mix", "seed"]].drop_duplicates()
    assert told.to_numpy().tolist() == [["long_ms_diff", "unet", "1-0", 0]]
    kinds = pd.read_csv(listed, sep="\t")["kind"].value_counts()
    for kind in ("real", "synthetic"):
        assert (patients[f"n_{kind}"] == kinds.get(kind, 0)).all()
