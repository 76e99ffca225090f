import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from msdiff.__main__ import main
from msdiff.errors import BadInput
from msdiff.images import Grid
from msdiff.sampling.nifti import export_samples, item_grid
from msdiff.sampling.shards import save_shard
from msdiff.stack.reading import Stack

# Oblique, with axes of different lengths: what a wrong axis, sign or offset cannot survive.
AFFINE = np.array([[0.9, 0.1, 0.2, -30], [-0.1, 1.1, 0.3, -50], [0.1, -0.2, 2.9, 12], [0, 0, 0, 1]])
SHAPE = (12, 10, 6)  # x, y, z
LICENSE = "CC0-1.0"


@pytest.fixture
def stack(tmp_path):
    folder = tmp_path / "stack"
    folder.mkdir()
    rows = [{"row": row, "subject": f"sub-{row // 2}", "session": f"ses-{row % 2}"} for row in range(6)]
    scans = pd.DataFrame(rows)
    scans.to_csv(folder / "scans.tsv", sep="\t", index=False)
    scans.to_csv(folder / "slices.tsv", sep="\t", index=False)
    (folder / "grid.json").write_text(json.dumps({"shape": SHAPE, "affine": AFFINE.tolist()}))
    return Stack(folder, Grid(SHAPE, AFFINE), scans, scans)


@pytest.fixture
def shards(tmp_path):
    """Two shards of seven samples; the voxel (y, x) of every image is y / 10 + x / 100."""
    y, x = np.indices((SHAPE[1], SHAPE[0]))
    folders = []
    for shard in range(2):
        numbers = list(range(shard, 7, 2))
        manifest = pd.DataFrame(
            {
                "sample": numbers,
                "seed": [2**61 + number for number in numbers],
                "baseline_subject": "sub-1",
                "baseline_row": 2,
                "slice": [number % 6 for number in numbers],
                "mask_subject": "sub-2",
                "mask_row": 5,
                "mask_slice": 3,
                "follow_up_row": -1,
                "change_mm3": 42.5,
                "change_count": 2,
                "change_flag": 1,
                "scalars": "scan",
                "mirrored": 0,
                "rotation_degrees": 0.0,
                "scale": 1.0,
                "shifts": "0,1;-",
                "surviving_fraction": 0.8,
                "generator": "long_ms_diff",
                "weights_sha256": "ab" * 32,
                "contrast": "flair",
                "sampler": "dpm_solver_2m",
                "steps": 20,
                "guidance_weight": 0.0,
                "msdiff_version": "0.1.0",
            }
        )
        images = np.repeat((y / 10 + x / 100 - 0.5)[None], len(numbers), axis=0).astype(np.float32)
        masks = np.zeros(images.shape, dtype=bool)
        masks[:, 7, 4] = True
        save_shard(tmp_path / f"{shard:03d}", manifest, follow_up=images, change_mask=masks)
        folders.append(tmp_path / f"{shard:03d}")
    return folders


def test_a_voxel_lies_in_the_world_where_the_stacks_voxel_lies(tmp_path, stack, shards):
    assert export_samples(stack, shards, tmp_path / "out", LICENSE, None, 1, False) == 7
    for number in range(7):
        path = tmp_path / f"out/sub-{number:06d}/anat/sub-{number:06d}_FLAIR.nii.gz"
        image = nib.load(path)
        assert image.shape == (12, 10, 1)
        assert image.header.get_xyzt_units()[0] == "mm"
        # From a point in the world to this file's voxels, and to the stack's.
        point = AFFINE @ [4, 7, number % 6, 1]
        np.testing.assert_allclose(np.linalg.solve(image.affine, point), [4, 7, 0, 1], atol=1e-4)
        assert image.get_fdata()[4, 7, 0] == pytest.approx(0.7 + 0.04 - 0.5, abs=1e-4)
        mask = nib.load(path.with_name(f"sub-{number:06d}_label-change_mask.nii.gz"))
        np.testing.assert_allclose(mask.affine, image.affine)
        assert np.argwhere(mask.get_fdata()).tolist() == [[4, 7, 0]]


def test_the_grid_of_a_slice_is_that_of_the_stack_cut():
    cut = item_grid(Grid(SHAPE, AFFINE), 4)
    whole = nib.Nifti1Image(np.zeros(SHAPE), AFFINE)
    np.testing.assert_allclose(cut.affine, whole.slicer[:, :, 4:5].affine)
    assert cut.shape == (12, 10, 1)


def test_sidecars_say_what_the_images_are_and_where_they_came_from(tmp_path, stack, shards):
    export_samples(stack, shards, tmp_path / "out", LICENSE, [3], 1, False)
    anat = tmp_path / "out/sub-000003/anat"
    told = json.loads((anat / "sub-000003_FLAIR.json").read_text())
    expected = {
        "synthetic": True,
        "License": LICENSE,
        "seed": 2**61 + 3,
        "weights_sha256": "ab" * 32,
        "sampler": "dpm_solver_2m",
        "steps": 20,
        "guidance_weight": 0.0,
        "baseline_subject": "sub-1",
        "baseline_session": "ses-0",
        "slice": 3,
        "mask_subject": "sub-2",
        "mask_session": "ses-1",
        "change_mm3": 42.5,
        "shifts": "0,1;-",
        "GeneratedBy": [{"Name": "msdiff", "Version": "0.1.0"}],
    }
    assert {key: told[key] for key in expected} == expected
    assert told["units"]["change_mm3"] == "mm3"
    assert json.loads((anat / "sub-000003_label-change_mask.json").read_text())["synthetic"] is True
    description = json.loads((tmp_path / "out/dataset_description.json").read_text())
    assert (description["License"], description["DatasetType"]) == (LICENSE, "derivative")
    participants = pd.read_csv(tmp_path / "out/participants.tsv", sep="\t")
    assert participants["participant_id"].tolist() == ["sub-000003"]
    assert participants["seed"].tolist() == [2**61 + 3]


@pytest.mark.parametrize(
    ("flags", "numbers"),
    [
        ([], range(7)),
        (["--samples", 1, 4, 6], [1, 4, 6]),
        (["--every", 3], [0, 3, 6]),
        (["--samples", 2, 5, "--every", 2], [2]),
    ],
)
def test_the_command_writes_the_samples_asked_for(tmp_path, stack, shards, flags, numbers):
    out = tmp_path / "out"
    arguments = ["--stack", stack.folder, "--shards", *shards, "--license", LICENSE, "--out", out, *flags]
    assert main(["export-samples", *map(str, arguments)]) == 0
    assert sorted(path.name for path in out.glob("sub-*")) == [f"sub-{number:06d}" for number in numbers]


def test_nothing_is_overwritten_unasked(tmp_path, stack, shards, capsys):
    out = tmp_path / "out"
    arguments = ["--stack", stack.folder, "--shards", *shards, "--license", LICENSE, "--out", out, "--samples", 1]
    command = ["export-samples", *map(str, arguments)]
    assert main(command) == 0
    (out / "kept").touch()
    assert main(command) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert (out / "kept").exists()
    assert main([*command, "--overwrite"]) == 0
    assert not (out / "kept").exists()


def test_other_stacks_shards_and_numbers_are_refused(tmp_path, stack, shards):
    def export(stack=stack, samples=None):
        export_samples(stack, shards, tmp_path / "out", LICENSE, samples, 1, False)

    with pytest.raises(BadInput, match="got 7"):
        export(samples=[1, 7])
    with pytest.raises(BadInput, match="that the samples are from"):
        export(stack=stack._replace(scans=stack.scans.assign(subject="sub-9")))
    manifest = pd.read_csv(shards[1] / "manifest.tsv", sep="\t")
    manifest.drop(columns="contrast").to_csv(shards[1] / "manifest.tsv", sep="\t", index=False)
    with pytest.raises(BadInput, match="contrast in its manifest"):
        export()
    assert not (tmp_path / "out").exists()
