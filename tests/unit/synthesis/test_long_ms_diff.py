import json
import shutil

import numpy as np
import pytest
import torch
from indexed import open_stack, stack_files
from torch import nn

from msdiff.__main__ import main
from msdiff.diffusion.noise import expand, sigma
from msdiff.diffusion.objective import Answer
from msdiff.diffusion.sampler import SamplerSettings
from msdiff.errors import BadInput, BadSettings
from msdiff.networks.detectors import load_detector
from msdiff.networks.weights import load_weights, save_weights, sha256
from msdiff.settings import check
from msdiff.synthesis.long_ms_diff import task as module
from msdiff.synthesis.long_ms_diff.follow_ups import load_generator
from msdiff.synthesis.long_ms_diff.options import LongMSDiffSettings

CPU = torch.device("cpu")
LEARNED = {"backend": "learned", "options": {"vlb_weight": 0.001, "steps": 1000, "levels": 256}}


def make_task(stack, detector_path, settings):
    return module.LongMSDiff(stack, check(LongMSDiffSettings, settings), load_detector(detector_path)[0])


def train(stack, settings, detector_path, folder, minutes=None):
    return module.train_generator(stack, settings, detector_path, folder, minutes, CPU)


def test_batch_reads_the_slices_it_is_asked_for(stack, detector_path, given):
    task = make_task(stack, detector_path, given("generator", flip=0.0))
    batch = task.batch(np.array([1, 2]), np.random.default_rng(0))
    row = task.slices.iloc[1]
    np.testing.assert_array_equal(batch["baseline"][0, 0], stack.array("flair")[row["baseline_row"], row["slice"]])
    np.testing.assert_array_equal(batch["follow_up"][0, 0], stack.array("flair")[row["follow_up_row"], row["slice"]])
    assert batch["change_mask"].flatten(1).any(1).tolist() == [True, False]
    flipped = make_task(stack, detector_path, given("generator", flip=1.0)).batch(
        np.array([1, 2]), np.random.default_rng(0)
    )
    for name in ("baseline", "follow_up", "change_mask"):
        assert torch.equal(flipped[name], batch[name].flip(-1))


def test_changed_slices_are_chosen_as_often_as_asked(stack, detector_path, given):
    task = make_task(stack, detector_path, given("generator", positive_fraction=0.8))
    positive = (task.slices["change_voxels"] > 0).to_numpy()
    assert task.weights[positive].sum() == pytest.approx(0.8)
    assert task.weights.sum() == pytest.approx(1)
    assert set(task.slices["split"]) == {"train"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"variance": LEARNED, "objective__prediction": "eps"},
        {"objective__prediction": "x", "objective__weight": {"backend": "unit", "options": {}}},
        {"auxiliary__balance": {"backend": "gradient_norm", "options": {"delta": 1e-6, "largest": 1e4}}},
        {"auxiliary__balance": {"backend": "ema_ratio", "options": {"target": 0.1, "decay": 0.9, "largest": 1e4}}},
        {"auxiliary__maximum_time": 0.0, "dropout__baseline_mode": "zeros", "dropout__guidance": 0.5},
        {"scalars": "slice", "training__precision": "bf16", "training__micro_batches": 2},
    ],
)
def test_every_variant_trains_and_samples(tmp_path, stack, detector_path, given, changes):
    trained = train(stack, given("generator", training__steps=2, **changes), detector_path, tmp_path)
    assert np.isfinite(trained.history["loss"]).all()
    assert {"reconstruction", "segmentation", "segmentation_weight"} <= set(trained.history)
    sample = load_generator(trained.tensors, trained.description, CPU)
    sampler = {"sampler": {"backend": "ancestral", "options": {"spacing": "t", "clip": [-1.0, 1.0]}}}
    chosen = check(SamplerSettings, given("sampler", **sampler))
    sampled = sample(torch.zeros(2, 1, 16, 16), torch.zeros(2, 1, 16, 16), torch.zeros(2, 3), [1, 2], chosen)
    assert sampled.shape == (2, 1, 16, 16)
    assert torch.isfinite(sampled).all()
    assert not torch.equal(sampled[0], sampled[1])


def test_loss_falls(tmp_path, stack, detector_path, given):
    settings = given("generator", training__steps=80, training__log_every=20, dropout__baseline=0.0)
    history = train(stack, settings, detector_path, tmp_path).history
    assert history["squared_error"].iloc[-1] < 0.5 * history["squared_error"].iloc[0]


def test_resumed_generator_equals_an_uninterrupted_one(tmp_path, stack, detector_path, given):
    from msdiff.errors import OutOfTime

    whole = train(stack, given("generator"), detector_path, tmp_path / "whole")
    with pytest.raises(OutOfTime):
        train(stack, given("generator"), detector_path, tmp_path / "parts", minutes=1e-6)
    parts = train(stack, given("generator"), detector_path, tmp_path / "parts")
    assert all(torch.equal(whole.tensors[name], parts.tensors[name]) for name in whole.tensors)


def test_other_settings_and_other_voxels_train_anew(tmp_path, stack, detector_path, given):
    train(stack, given("generator"), detector_path, tmp_path)
    train(stack, given("generator", dropout__baseline=0.2), detector_path, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    again = shutil.copytree(stack.folder, tmp_path / "stack")
    images = np.load(again / "flair.npy")
    images[0, 0, 0, 0] = 0.5
    np.save(again / "flair.npy", images)
    train(open_stack(again), given("generator"), detector_path, tmp_path / "again")
    train(stack, given("generator"), detector_path, tmp_path / "again")
    assert len(list((tmp_path / "again").iterdir())) == 2


def test_a_changed_set_of_other_patients_trains_nothing_anew(tmp_path, stack, detector_path, given, caplog):
    """A patient fewer to train on does."""
    caplog.set_level("INFO")
    first = train(stack, given("generator"), detector_path, tmp_path)
    split = stack.slices["split"].replace({"validation": "test", "test": "validation"})
    moved = stack._replace(slices=stack.slices.assign(split=split))
    caplog.clear()
    again = train(moved, given("generator"), detector_path, tmp_path)
    steps = given("generator")["training"]["steps"]
    assert f"training to step {steps} from step {steps}" in caplog.text
    assert all(torch.equal(first.tensors[name], again.tensors[name]) for name in first.tensors)
    assert first.history.equals(again.history)
    fewer = stack.slices["split"].where(stack.slices["subject"] != "sub-0001", "test")
    train(stack._replace(slices=stack.slices.assign(split=fewer)), given("generator"), detector_path, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_checkpoints_of_other_settings_are_one_line_of_bad_input(tmp_path, stack, detector_path, given, capsys):
    arguments = [
        "--stack",
        *stack_files(stack.folder),
        "--auxiliary",
        detector_path,
        "--checkpoints",
        tmp_path / "checkpoints",
    ]
    arguments += ["--weights", tmp_path / "weights.safetensors", "--history", tmp_path / "history.csv", "--threads", 1]
    command = ["train-generator", *map(str, arguments), "--settings"]
    assert main([*command, json.dumps(given("generator"))]) == 0
    (first,) = (tmp_path / "checkpoints").iterdir()
    other = json.dumps(given("generator", dropout__baseline=0.2))
    assert main([*command, other]) == 0
    (second,) = (folder for folder in (tmp_path / "checkpoints").iterdir() if folder != first)
    shutil.rmtree(second)
    first.rename(second)
    before = (tmp_path / "weights.safetensors").read_bytes()
    capsys.readouterr()
    assert main([*command, other]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert "expected checkpoints of this training" in line
    assert (tmp_path / "weights.safetensors").read_bytes() == before


def test_segmentation_loss_reaches_the_estimate_only():
    detector = nn.Module()
    detector.scale = nn.Parameter(torch.tensor(10.0))
    detector.forward = lambda baseline, follow_up: (follow_up - baseline - 0.5) * detector.scale
    detector.requires_grad_(False)
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, 2:4, 2:4] = 1
    baseline = torch.zeros(2, 1, 8, 8)
    estimate = mask.clone().requires_grad_()
    loss = module.segmentation_loss(detector, baseline, estimate, mask, torch.ones(2))
    loss.backward()
    assert estimate.grad.abs().sum() > 0
    assert detector.scale.grad is None
    worse = module.segmentation_loss(detector, baseline, torch.zeros_like(mask), mask, torch.ones(2))
    assert worse > loss
    # The second sample, whose mask is empty, is judged by cross-entropy alone: no Dice of nothing.
    empty = module.segmentation_loss(detector, baseline[1:], baseline[1:], mask[1:], torch.ones(1))
    assert empty.item() == pytest.approx(np.log1p(np.exp(-5.0)), rel=1e-4)
    # What weighs nothing does not count.
    alone = module.segmentation_loss(detector, baseline, torch.zeros_like(mask), mask, torch.tensor([0.0, 1.0]))
    assert alone.item() == pytest.approx(empty.item(), rel=1e-5)
    assert module.segmentation_loss(detector, baseline[:0], baseline[:0], mask[:0], torch.ones(0)).item() == 0


def test_baseline_dropout_replaces_the_baseline_and_guidance_the_rest(stack, detector_path, given):
    batch = {
        "baseline": torch.full((4, 1, 16, 16), 0.5),
        "change_mask": torch.ones(4, 1, 16, 16),
        "scalars": torch.ones(4, 3),
    }
    rng = torch.Generator().manual_seed(0)
    changes = {"dropout__baseline": 1.0, "dropout__guidance": 1.0}
    condition = make_task(stack, detector_path, given("generator", **changes))._condition(batch, rng)
    assert condition[:, 0].std().item() == pytest.approx(1, abs=0.1)
    assert condition[:, 1:].abs().max() == 0
    changes["dropout__baseline_mode"] = "zeros"
    condition = make_task(stack, detector_path, given("generator", **changes))._condition(batch, rng)
    assert condition[:, 0].abs().max() == 0
    changes = {"dropout__baseline": 0.0, "dropout__guidance": 0.0}
    condition = make_task(stack, detector_path, given("generator", **changes))._condition(batch, rng)
    assert torch.equal(condition[:, 0], batch["baseline"][:, 0])


def test_samples_do_not_depend_on_their_batch(generator_path, given):
    sample = load_generator(*load_weights(generator_path), CPU)
    rng = torch.Generator().manual_seed(0)
    baseline, mask = torch.randn(3, 1, 16, 16, generator=rng), torch.zeros(3, 1, 16, 16)
    mask[:, :, 5:8, 5:8] = 1
    scalars = torch.tensor([[100.0, 1, 1], [200, 2, 1], [0, 0, 0]])
    for weight in (0.0, 1.5):
        sampler = check(SamplerSettings, given("sampler", guidance_weight=weight))
        whole = sample(baseline, mask, scalars, [5, 6, 7], sampler)
        alone = sample(baseline[1:2], mask[1:2], scalars[1:2], [6], sampler)
        assert torch.equal(whole[1:2], alone)
        assert not torch.equal(sample(baseline[1:2], mask[1:2], scalars[1:2], [8], sampler), alone)


def test_guidance_without_its_dropout_in_training_is_refused(tmp_path, stack, detector_path, given):
    trained = train(stack, given("generator", training__steps=1), detector_path, tmp_path)
    sample = load_generator(trained.tensors, trained.description, CPU)
    sampler = check(SamplerSettings, given("sampler", guidance_weight=1.0))
    with pytest.raises(BadSettings, match="guidance_weight"):
        sample(torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16), torch.zeros(1, 3), [1], sampler)


def test_weights_of_another_network_are_one_line_of_bad_input(generator_path):
    tensors, description = load_weights(generator_path)
    name = next(name for name in tensors if "conv_in" in name and tensors[name].ndim == 4)
    tensors[name] = tensors[name][:, :4]
    with pytest.raises(BadInput, match="6 channels in") as caught:
        load_generator(tensors, description, CPU)
    assert "\n" not in str(caught.value)


def test_an_auxiliary_that_is_no_detector_or_of_another_contrast_is_bad_input(
    tmp_path, stack, generator_path, detector_path, given
):
    with pytest.raises(BadInput, match="expected a detector's weights, got those of a 'generator'"):
        train(stack, given("generator"), generator_path, tmp_path)
    tensors, description = load_weights(detector_path)
    save_weights(tensors, description | {"contrast": "t1w"}, tmp_path / "t1w.safetensors")
    with pytest.raises(BadInput, match="expected a detector in flair, got one in t1w"):
        train(stack, given("generator"), tmp_path / "t1w.safetensors", tmp_path)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"variance": {"backend": "free", "options": {}}}, "variance"),
        ({"objective__prediction": "noise"}, "prediction"),
        ({"network": {"channels": [8]}}, "missing key"),
        ({"positive_fraction": 1.5}, "positive_fraction"),
        ({"auxiliary__balance": {"backend": "luck", "options": {}}}, "balance"),
    ],
)
def test_bad_settings_name_their_key(tmp_path, stack, detector_path, given, changes, word):
    with pytest.raises(BadSettings, match=word):
        train(stack, given("generator", **changes), detector_path, tmp_path)


@pytest.mark.parametrize(
    ("left_out", "places"),
    [("baseline", [0]), ("change_mask", [1]), ("scalars", [2, 3, 4])],
    ids=lambda value: str(value),
)
def test_a_condition_that_is_not_given_is_zeros_in_training_and_makes_no_difference_in_sampling(
    tmp_path, stack, detector_path, given, left_out, places
):
    conditions = [name for name in ("baseline", "change_mask", "scalars") if name != left_out]
    settings = given("generator", conditions=conditions)
    task = make_task(stack, detector_path, settings)
    batch = {"baseline": torch.rand(4, 1, 16, 16), "change_mask": torch.ones(4, 1, 16, 16), "scalars": torch.ones(4, 3)}
    condition = task._condition(batch, torch.Generator().manual_seed(0))
    assert [place for place in range(5) if not condition[:, place].any()] == places
    trained = train(stack, settings, detector_path, tmp_path)
    sample = load_generator(trained.tensors, trained.description, CPU)
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:9, 4:9] = 1
    asked = {"baseline": torch.zeros_like(mask), "change_mask": mask, "scalars": torch.tensor([[200.0, 2, 1]])}
    sampler = check(SamplerSettings, given("sampler"))
    sampled = sample(**asked, seeds=[1], sampler=sampler)
    for name, value in asked.items():
        other = sample(**asked | {name: value * 0.5 + 0.3}, seeds=[1], sampler=sampler)
        assert torch.equal(other, sampled) == (name == left_out)


def test_a_residual_is_learnt_for_the_follow_up_that_the_detector_sees(stack, detector_path, given):
    residual = {"backend": "residual", "options": {"scale": 0.5}}
    task = make_task(stack, detector_path, given("generator", target=residual))
    follow_up, baseline = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    clean = task.denoiser.clean(follow_up, baseline)
    torch.testing.assert_close(clean, 2 * (follow_up - baseline))
    torch.testing.assert_close(task.denoiser.follow_up(clean, baseline), follow_up)
    seen = []
    task.auxiliary.register_forward_pre_hook(lambda module, images: seen.append(images))
    # A denoiser that knows the answer: L_recon is nothing, and the detector sees the real follow-up.
    batch = task.batch(np.array([0, 1, 2, 3]), np.random.default_rng(0))
    truth = task.denoiser.clean(batch["follow_up"], batch["baseline"])

    def knows(z, logsnr, condition, compiled):
        eps = (z - expand(torch.sigmoid(logsnr).sqrt(), z) * truth) / expand(sigma(logsnr), z)
        return Answer(task.denoiser.objective.target(truth, eps, logsnr), truth, None)

    task.denoiser.forward = knows
    losses = task.loss(batch, torch.Generator().manual_seed(0))
    assert losses["reconstruction"] < 1e-9
    for found, estimate in seen:
        for image, guess in zip(found, estimate, strict=True):
            (row,) = [row for row in range(4) if torch.equal(batch["baseline"][row], image)]
            torch.testing.assert_close(guess, batch["follow_up"][row])


def test_a_residual_is_added_to_the_baseline(tmp_path, stack, detector_path, given):
    residual = {"backend": "residual", "options": {"scale": 0.25}}
    trained = train(stack, given("generator", target=residual), detector_path, tmp_path)
    sample = load_generator(trained.tensors, trained.description, CPU)
    baseline = torch.rand(1, 1, 16, 16)
    mask, scalars, sampler = torch.zeros(1, 1, 16, 16), torch.zeros(1, 3), check(SamplerSettings, given("sampler"))
    changed = sample(baseline, mask, scalars, [1], sampler) - baseline
    # The sampler holds what it samples to -1 to 1, so that no voxel changes by more than the scale.
    assert 0 < changed.abs().max() <= 0.25 + 1e-6


def test_a_training_starts_from_pretrained_weights(tmp_path, stack, generator_path, detector_path, given):
    tensors, description = load_weights(generator_path)
    settings = given("generator", pretrained=str(generator_path), training__learning_rate=1e-9)
    task = make_task(stack, detector_path, settings)
    assert all(torch.equal(value, tensors[name]) for name, value in task.denoiser.state_dict().items())
    continued = train(stack, settings, detector_path, tmp_path)
    assert all(torch.allclose(continued.tensors[name], tensors[name], atol=1e-6) for name in tensors)
    fresh = train(stack, given("generator", training__learning_rate=1e-9), detector_path, tmp_path)
    assert not all(torch.allclose(fresh.tensors[name], tensors[name], atol=1e-6) for name in tensors)
    assert len(list(tmp_path.iterdir())) == 2
    assert continued.description["pretrained_sha256"] == sha256(generator_path)
    assert fresh.description["pretrained_sha256"] is None
    # Volumes keep the numbers that the weights know them by, and the range widens to what is met here.
    description["statistics"]["change_mm3"] |= {"mean": 1.5, "deviation": 2.0, "smallest": 0.1, "largest": 0.2}
    save_weights(tensors, description, tmp_path / "other.safetensors")
    other = make_task(stack, detector_path, given("generator", pretrained=str(tmp_path / "other.safetensors")))
    here = make_task(stack, detector_path, given("generator")).statistics["change_mm3"]
    expected = {"mean": 1.5, "deviation": 2.0, "smallest": 0.1, "largest": here["largest"]}
    assert other.statistics["change_mm3"] == expected


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"network__channels": [8, 16]}, "network"),
        ({"scalars": "slice"}, "scalars"),
        ({"conditions": ["baseline"]}, "conditions"),
        ({"target": {"backend": "residual", "options": {"scale": 1.0}}}, "target"),
        ({"objective__prediction": "eps"}, "objective.prediction"),
        ({"variance": LEARNED}, "variance.backend"),
    ],
)
def test_pretrained_weights_of_other_settings_are_one_line_of_bad_input(
    tmp_path, stack, generator_path, detector_path, given, changes, key
):
    settings = given("generator", pretrained=str(generator_path), **changes)
    with pytest.raises(BadInput, match=f"expected weights trained with {key} ") as caught:
        train(stack, settings, detector_path, tmp_path)
    assert "\n" not in str(caught.value)


def test_pretrained_weights_of_something_else_are_bad_input(tmp_path, stack, detector_path, given):
    with pytest.raises(BadInput, match="expected weights of a long_ms_diff, got those of a 'detector'"):
        train(stack, given("generator", pretrained=str(detector_path)), detector_path, tmp_path)


def test_few_epochs_are_warned_of(tmp_path, stack, detector_path, given, caplog):
    few = given("generator", training__steps=2)
    train(stack, few, detector_path, tmp_path / "few")
    warnings = [record.getMessage() for record in caplog.records if "epochs" in record.getMessage()]
    # Two steps of four over twelve slices.
    assert warnings == ["1 epochs (steps x batch / slices) are few, samples may stay noise; train for 100"]
    caplog.clear()
    train(stack, given("generator", training__steps=1, training__batch_size=1200), detector_path, tmp_path / "enough")
    assert not any("epochs" in record.getMessage() for record in caplog.records)
