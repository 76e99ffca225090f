from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from indexed import open_stack
from torch import nn

from msdiff.errors import BadInput
from msdiff.settings import check
from msdiff.stack.intensities import lesion_intensity
from msdiff.synthesis.plan import PlanSettings, plan_samples
from msdiff.synthesis.scoring import COLUMNS, ScoringSettings, score_images

SETTINGS = check(ScoringSettings, {"ring_width_mm": 6.0, "blur_sigma_mm": 3.0, "detection_threshold": 0.5})


class Brighter(nn.Module):
    """Sees as new what is half the range brighter than before."""

    def forward(self, baseline, follow_up):
        return (follow_up - baseline - 0.5) * 100


class Exact(NamedTuple):
    """A shard in memory, whose images are not rounded to 16 bits."""

    manifest: pd.DataFrame
    arrays: dict[str, np.ndarray]

    def shape(self, name):
        return self.arrays[name].shape[1:]

    def read(self, name, index):
        return self.arrays[name][index]


@pytest.fixture
def shard(stack, given):
    """The real follow-ups, as if generated."""
    manifest = plan_samples(stack, "held_out", check(PlanSettings, given("plan"))).assign(generator="perfect")
    real, masks = (
        np.stack([stack.array(name)[row.follow_up_row, row.slice] for row in manifest.itertuples()])
        for name in ("flair", "change_mask")
    )
    return Exact(manifest, {"follow_up": real.astype(np.float32), "change_mask": masks > 0})


def scores_of(stack, shard):
    return score_images(stack, [shard], "flair", Brighter(), SETTINGS).set_index(["generator", "region"])


def test_a_perfect_generator_and_copies_of_the_baseline(stack, shard):
    scores = scores_of(stack, shard)
    assert list(scores.reset_index()[COLUMNS]) == COLUMNS
    perfect, copy = scores.loc[("perfect", "lesion")], scores.loc[("copy_baseline", "lesion")]
    assert (perfect["mae"] == 0).all()
    assert (perfect["lesion_contrast"] == perfect["real_lesion_contrast"]).all()
    assert (perfect["adherence_dice"] > 0.9).all()
    assert (copy["adherence_dice"] < 0.1).all()
    assert (copy["lesion_contrast"].abs() < 0.3 * copy["real_lesion_contrast"]).all()
    assert scores.loc[("real_follow_up", "lesion"), "adherence_dice"].mean() > 0.9
    assert set(scores.loc["perfect"].index) == {"brain", "lesion", "ring", "outside"}


def test_the_noise_floor_is_the_copys_error_in_unchanged_tissue(stack, shard):
    scores = scores_of(stack, shard)
    np.testing.assert_array_equal(
        scores.loc[("noise_floor", "outside"), "mae"], scores.loc[("copy_baseline", "outside"), "mae"]
    )
    assert set(scores.loc["noise_floor"].index) == {"outside"}
    row = shard.manifest.iloc[0]
    images = stack.array("flair").astype(np.float32)
    difference = np.abs(images[row["follow_up_row"], row["slice"]] - images[row["baseline_row"], row["slice"]]) / 2
    far = stack.array("brain_mask")[row["baseline_row"], row["slice"]] > 0
    ys, xs = np.nonzero(shard.arrays["change_mask"][0])
    yy, xx = np.mgrid[:16, :16]
    near = np.min(np.hypot(yy[..., None] - ys, xx[..., None] - xs), axis=-1) * 3 <= 6
    expected = difference[far & ~near].mean()
    assert scores.loc[("noise_floor", "outside"), "mae"].iloc[0] == pytest.approx(expected, rel=1e-5)


def test_a_pasted_mask_has_the_intensity_of_training_lesions_and_changes_nothing_else(stack, shard):
    """All lesions of the stack are 0.8, in half precision; the tissue around them is noise of deviation 0.1."""
    assert lesion_intensity(stack, "flair") == pytest.approx(0.8, abs=1e-3)
    scores = scores_of(stack, shard)
    pasted = scores.loc["paste_lesion"]
    assert pasted.loc["lesion", "mae"].max() < 1e-3
    assert (pasted.loc["lesion", "adherence_dice"] > 0.9).all()
    for region in ("ring", "outside"):
        assert (pasted.loc[region, "change_mae"] == 0).all()
        np.testing.assert_array_equal(pasted.loc[region, "mae"], scores.loc[("copy_baseline", region), "mae"])


def test_the_pasted_intensity_comes_from_training_patients_alone(make_stack, tmp_path):
    """A patient's voxels are averaged before patients are; test patients are as bright as can be."""
    bright = make_stack(tmp_path / "stack", splits=["train", "train", "test"])
    flair, masks = (np.load(bright.folder / f"{name}.npy") for name in ("flair", "change_mask"))
    for row, value in ((1, 0.25), (3, 0.5), (5, 1.0)):
        flair[row][masks[row] > 0] = value
    # The second patient's lesion is in one slice only.
    masks[3, 1] = 0
    np.save(bright.folder / "flair.npy", flair)
    np.save(bright.folder / "change_mask.npy", masks)
    assert lesion_intensity(open_stack(bright.folder), "flair") == 0.375


def test_change_is_measured_from_the_baseline(stack, shard):
    scores = scores_of(stack, shard)
    regions = ["brain", "lesion", "ring", "outside"]
    assert (scores.loc["copy_baseline"]["change_mae"] == 0).all()
    # The real follow-up changes as much as a copy is wrong; outside, that is the noise floor.
    for region in regions:
        np.testing.assert_array_equal(
            scores.loc[("real_follow_up", region), "change_mae"], scores.loc[("copy_baseline", region), "mae"]
        )
    assert scores.loc["real_follow_up", ["mse", "mae", "psnr", "ms_ssim"]].isna().all(axis=None)
    assert scores.loc[("noise_floor", "outside"), "change_mae"].isna().all()
    np.testing.assert_array_equal(scores.loc["perfect", "change_mae"], scores.loc["real_follow_up", "change_mae"])


def test_shards_without_a_real_follow_up_or_of_another_size_are_refused(stack, shard):
    with pytest.raises(BadInput, match="purpose held_out"):
        scores_of(stack, shard._replace(manifest=shard.manifest.assign(follow_up_row=-1)))
    with pytest.raises(BadInput, match="slices of the stack's size"):
        scores_of(stack, shard._replace(arrays={"follow_up": np.zeros((len(shard.manifest), 8, 8), np.float32)}))
    with pytest.raises(BadInput, match="at least one sample"):
        scores_of(stack, shard._replace(manifest=shard.manifest.head(0)))


def test_the_detector_is_not_trained(stack, shard):
    detector = Brighter()
    detector.weight = nn.Parameter(torch.ones(1))
    score_images(stack, [shard], "flair", detector, SETTINGS)
    assert detector.weight.grad is None
