import json

import numpy as np
import pandas as pd
import pytest
import torch
from indexed import stack_files
from PIL import Image

from msdiff.__main__ import main
from msdiff.networks.weights import load_weights
from msdiff.synthesis.long_ms_diff import previews
from msdiff.synthesis.long_ms_diff.follow_ups import load_generator
from msdiff.synthesis.long_ms_diff.task import train_generator

CPU = torch.device("cpu")


def made_slices(splits, changed):
    rows = [
        {"pair": pair, "slice": number, "split": split, "change_voxels": voxels}
        for pair, (split, counts) in enumerate(zip(splits, changed, strict=True))
        for number, voxels in enumerate(counts)
    ]
    return pd.DataFrame(rows)


def test_the_most_changed_slices_of_validation_pairs_are_shown():
    slices = made_slices(["train", "validation", "validation", "test"], [[9, 1], [0, 5], [7, 3], [8, 8]])
    chosen = previews.preview_slices(slices, 6)
    assert list(zip(chosen["pair"], chosen["slice"], strict=True)) == [(1, 1), (2, 0)]


def test_training_pairs_are_shown_where_no_validation_pair_changes():
    slices = made_slices(["train"] * 5 + ["validation"], [[0, 4]] * 5 + [[0, 0]])
    chosen = previews.preview_slices(slices, 3)
    assert list(chosen["pair"]) == [0, 2, 4]
    assert set(chosen["slice"]) == {1}


def test_a_grid_shows_what_it_is_given():
    baseline, real, generated = (np.full((1, 64, 64), value, dtype=np.float32) for value in (-1, 0, 0))
    mask = np.zeros((1, 64, 64), dtype=bool)
    mask[0, 10:14, 20:24] = True
    generated[0, 10:14, 20:24] = 1
    pixels = np.asarray(previews.grid(baseline, mask, real, generated, 7))
    side = 2 * 64 + previews.GAP
    assert pixels.shape == (previews.LINE + side, 5 * side, 3)
    row = previews.LINE + 2 * (63 - 12)
    columns = [place * side + 2 * 22 for place in range(5)]
    shown = [pixels[row, column].tolist() for column in columns]
    # Baseline, within the outline, real, generated; the difference, 2, is beyond full red.
    assert shown == [[0] * 3, [0] * 3, [128] * 3, [255] * 3, [255, 0, 0]]
    edge = previews.LINE + 2 * (63 - 10) + 1
    assert pixels[edge, side + 2 * 20].tolist() == list(previews.OUTLINE)
    assert pixels[: previews.LINE].any()
    nothing = np.asarray(previews.grid(baseline, mask, real, baseline, 7))
    assert nothing[row, columns[4]].tolist() == [255, 255, 255]


@pytest.fixture
def sampler_of(generator_path):
    return load_generator(*load_weights(generator_path), CPU)


def test_errors_are_those_of_the_regions(tmp_path, stack, sampler_of):
    preview = previews.Previewer(stack, sampler_of, sampler_of.settings.preview)
    fixed = torch.from_numpy(preview.real)[:, None] + torch.where(torch.from_numpy(preview.mask), 0.25, -0.5)[:, None]
    seen = []
    preview.sampler = lambda *arguments: seen.append(arguments[:4]) or fixed
    # Samples are held to -1 to 1.
    kept = np.abs(fixed[:, 0].numpy().clip(-1, 1) - preview.real)
    scalars = preview(tmp_path, 3)
    assert scalars["lesion_error"] == pytest.approx(kept[preview.mask].mean())
    assert scalars["lesion_error"] == pytest.approx(0.2, abs=0.01)
    assert scalars["outside_error"] == pytest.approx(kept[preview.brain & ~preview.mask].mean())
    preview(tmp_path, 4)
    with Image.open(tmp_path / "step-000000003.png") as picture:
        assert picture.mode == "RGB"
    assert (tmp_path / "step-000000004.png").is_file()
    for first, second in zip(*seen, strict=True):
        assert torch.equal(torch.as_tensor(first), torch.as_tensor(second))


def test_previews_change_no_weight_and_go_out_of_the_command(tmp_path, stack, detector_path, given):
    unseen = train_generator(stack, given("generator"), detector_path, tmp_path / "unseen", None, CPU)
    arguments = [
        "--stack",
        *stack_files(stack.folder),
        "--auxiliary",
        detector_path,
        "--checkpoints",
        tmp_path / "checkpoints",
    ]
    arguments += ["--weights", tmp_path / "weights.safetensors", "--history", tmp_path / "history.csv", "--threads", 1]
    command = ["train-generator", *map(str, arguments), "--previews", str(tmp_path / "previews"), "--settings"]
    assert main([*command, json.dumps(given("generator", preview__every=2))]) == 0
    tensors, description = load_weights(tmp_path / "weights.safetensors")
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in unseen.tensors.items())
    assert description["patients"] == ["sub-0001", "sub-0002", "sub-0003", "sub-0004"]
    names = [path.name for path in sorted((tmp_path / "previews").iterdir())]
    assert names == ["step-000000002.png", "step-000000004.png"]
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["preview_lesion_error"].gt(0).all()
    assert history["lesion_squared_error"].gt(0).all()
    # Without previews the folder is there, and empty.
    assert main([*command, json.dumps(given("generator", seed=1))]) == 0
    assert list((tmp_path / "previews").iterdir()) == []
