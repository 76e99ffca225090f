"""Known counts, scores and levels of hand-made draws; tables of a whole purpose."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from msdiff.config_files import merged_config
from msdiff.errors import BadInput
from msdiff.forecasting import COMMON, MASK_ARRAY
from msdiff.forecasting.readout import levels, read_draws, read_ensemble, score_forecasts, summed_up
from msdiff.forecasting.sampling import SamplingSettings, forecasts_of
from msdiff.forecasting.slabs import BlurSettings, blurred
from msdiff.metrics.lesion import components
from msdiff.metrics.regional import REGIONS, ReadoutSettings, lesions_in, opened
from msdiff.sampling.shard import sample_shard
from msdiff.sampling.shards import joined, load_shard
from msdiff.settings import check

SHAPE = (2, 10, 20)
# White matter in the left half, cortex in the right one.
REGION_MAP = np.broadcast_to(np.repeat([2, 42], 10), SHAPE)
READOUT = check(
    ReadoutSettings,
    {
        "opening_voxels": [1, 3, 3],
        "connectivity": 26,
        "min_lesion_volume_mm3": 0.0,
        "region_overlap_voxels": 3,
        "region_rule": "overlap",
    },
)


def draws_of(*boxes: list[tuple[int, int, int]]) -> np.ndarray:
    """One mask for each list of lesions: squares of 3 voxels, by their first slice, row and column."""
    masks = np.zeros((len(boxes), *SHAPE), dtype=bool)
    for mask, lesions in zip(masks, boxes, strict=True):
        for z, y, x in lesions:
            mask[z, y : y + 3, x : x + 3] = True
    return masks


def ensemble(draws: np.ndarray, options: ReadoutSettings = READOUT) -> dict[str, float]:
    return read_ensemble(draws.sum(axis=0, dtype=np.uint16), len(draws), REGION_MAP, options, 3.0)


def test_counts_of_draws_and_what_they_sum_up_to():
    # The second draw has a line beside its lesion, too thin to be one; the last has nothing.
    draws = draws_of([(0, 0, 0), (1, 6, 12)], [(0, 0, 0)], [(0, 2, 4)], [])
    draws[1, 0, 5, :] = True
    single = read_draws(draws, REGION_MAP, READOUT, 3.0)
    assert [row["count"] for row in single] == [2, 1, 1, 0]
    assert [row["volume_mm3"] for row in single] == [54.0, 27.0, 27.0, 0.0]
    assert [row["cerebral_white_matter"] for row in single] == [1, 1, 1, 0]
    assert [row["cerebral_cortex"] for row in single] == [1, 0, 0, 0]
    assert summed_up(single) == {
        "draws": 4,
        "activity_probability": 0.75,
        "count_mean": 1.0,
        "cerebral_white_matter_share": 0.75,
        "cerebral_cortex_share": 0.25,
    }


def test_scores_of_the_ensemble_are_the_levels_at_which_a_lesion_is_left():
    # Two draws agree on a whole lesion on the left; on the right two agree on a column, too narrow for a lesion.
    draws = draws_of([(0, 0, 0), (1, 6, 12)], [(0, 0, 0), (1, 6, 14)], [(0, 6, 4)], [])
    assert ensemble(draws) == {"ensemble_count": 1, "cerebral_white_matter_score": 0.5, "cerebral_cortex_score": 0.25}


def test_one_draw_is_its_own_ensemble():
    found = {"ensemble_count": 2, "cerebral_white_matter_score": 1.0, "cerebral_cortex_score": 1.0}
    assert ensemble(draws_of([(0, 0, 0), (1, 6, 12)])) == found


def test_empty_draws_say_nothing():
    nothing = {"ensemble_count": 0, "cerebral_white_matter_score": 0.0, "cerebral_cortex_score": 0.0}
    assert ensemble(draws_of([], [], [])) == nothing
    assert summed_up(read_draws(draws_of([]), REGION_MAP, READOUT, 3.0))["activity_probability"] == 0


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.8])
def test_at_the_score_and_below_there_is_a_lesion_and_above_none(share: float, region: str):
    draws = np.random.default_rng(1).random((5, *SHAPE)) < share
    score = ensemble(draws)[f"{region}_score"]
    probability = draws.mean(axis=0)
    inside = np.isin(REGION_MAP, REGIONS[region])
    for level in range(1, 6):
        cut = components(opened(probability >= level / 5 - 1e-9, (1, 3, 3)), 26, 0, 1)
        assert (lesions_in(cut, inside, "overlap", 3) > 0) == (level / 5 <= score)


def test_levels_of_known_voxels():
    sampled = np.zeros(SHAPE, np.uint16)
    sampled[0, 0, :4] = [1, 1, 4, 4]
    brain = np.zeros(SHAPE, bool)
    brain[0, :2] = True
    true = np.zeros(SHAPE, bool)
    true[0, 0, 2:6] = True
    # Outside the brain nothing counts.
    sampled[1], true[1] = 3, True
    assert levels(sampled, 4, brain, true) == [
        {"probability": 0.0, "voxels": 36, "positive_voxels": 2},
        {"probability": 0.25, "voxels": 2, "positive_voxels": 0},
        {"probability": 1.0, "voxels": 2, "positive_voxels": 2},
    ]


@pytest.fixture
def shards(made_slabs, gaussian, sampling_options, tmp_path):
    """Sample a purpose in shards and open them: shards(number, **changes of section draws)."""

    def sampled(number: int, **changes):
        options = sampling_options | {"draws": sampling_options["draws"] | changes}
        folders = [tmp_path / "shards" / f"{number}-{shard:03d}" for shard in range(number)]
        for shard, folder in enumerate(folders):
            sampling = forecasts_of(made_slabs, gaussian, "test", check(SamplingSettings, options))
            sample_shard(sampling, shard, number, 8, folder)
        return [load_shard(folder) for folder in folders]

    return sampled


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / name, sep="\t")


def test_the_tables_of_a_purpose(made_slabs, shards, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert score_forecasts(made_slabs, shards(1, arms="all"), READOUT, whole) == 18
    score_forecasts(made_slabs, shards(4, arms="all")[::-1], READOUT, parts)
    for name in ("draws.tsv", "patients.tsv", "voxels.tsv", "probability.npy"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()

    patients, draws, voxels = (read(whole, name) for name in ("patients.tsv", "draws.tsv", "voxels.tsv"))
    assert len(draws) == 18 * 5
    mean = draws.groupby(["subject", "arm"], sort=False)["count"].mean()
    np.testing.assert_allclose(patients["count_mean"], mean)
    own = patients["arm"] == patients["own_arm"]
    assert patients.loc[~own, "true_count"].isna().all()
    assert patients.loc[own, "true_count"].tolist() == [0, 2] * 3
    assert patients.loc[own, "true_active"].tolist() == [0, 1] * 3
    assert patients.loc[own, "true_cerebral_cortex"].tolist() == [0] * 6

    brain = 3 * 10 * 18
    assert (voxels.groupby(["subject", "arm"])["voxels"].sum() == brain).all()
    assert voxels.groupby("subject")["positive_voxels"].sum().tolist() == [0, 9] * 3
    assert set(voxels["probability"]) <= {0, 0.2, 0.4, 0.6, 0.8, 1}
    probability = np.load(whole / "probability.npy")
    assert probability.shape == (18, 3, 12, 20)
    assert probability.dtype == np.float16
    place = patients.index[own][0]
    expected = voxels[voxels["subject"] == patients["subject"][place]]
    found = dict(zip(*np.unique(probability[place, :, 1:-1, 1:-1].round(3), return_counts=True), strict=True))
    assert list(found.values()) == expected["voxels"].tolist()


def test_a_missing_shard_or_one_given_twice_is_told(made_slabs, shards, tmp_path):
    three = shards(3)
    with pytest.raises(BadInput, match="all 6 rows of test, each once; row 2 is missing"):
        joined(three[:2], COMMON)
    # Of as many shards as rows the last leaves no gap.
    with pytest.raises(BadInput, match="row 5 is missing"):
        joined(shards(6)[:5], COMMON)
    with pytest.raises(BadInput, match="got 8, some twice"):
        joined([*three, three[0]], COMMON)


def test_shards_of_other_weights_are_told(made_slabs, gaussian, shards):
    ours = shards(2)
    gaussian.sha256 = "1" * 64
    with pytest.raises(BadInput, match=r"expected the weights_sha256 of .*, 0+, got 1+; sample all shards alike"):
        joined([ours[0], shards(2)[1]], COMMON)


def test_shards_of_other_slabs_are_told(made_slabs, shards, tmp_path):
    sampled = shards(1)
    others = made_slabs._replace(patients=made_slabs.patients[made_slabs.patients["split"] == "train"])
    with pytest.raises(BadInput, match="patients of the forecasts, sub-hi6 is missing"):
        score_forecasts(others, sampled, READOUT, tmp_path / "out")
    flat = made_slabs._replace(grid=made_slabs.grid._replace(shape=(20, 12, 4)))
    with pytest.raises(BadInput, match=r"masks of \(4, 12, 20\) voxels"):
        score_forecasts(flat, sampled, READOUT, tmp_path / "out")


def test_the_threshold_keeps_the_volume_of_lesions_under_the_label_blur():
    """Balls of 6 to 12 mm at random places of voxels of 1 x 1 x 3 mm: a fifth more or less, with 0.5 far less."""
    forecasting = merged_config(size="paper")["forecasting"]
    blur = check(BlurSettings, forecasting["slabs"]["label_blur"])
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.arange(-n, n + 1) * side for n, side in ((6, 3), (12, 1), (12, 1))), indexing="ij")
    for diameter in (6, 8, 10, 12):
        kept = dict.fromkeys((forecasting["voxel_threshold"], 0.5), 0)
        true = 0
        for centre in rng.uniform(-0.5, 0.5, (40, 3)) * (3, 1, 1):
            ball = sum((axis - at) ** 2 for axis, at in zip((z, y, x), centre, strict=True)) <= (diameter / 2) ** 2
            true += ball.sum()
            for threshold in kept:
                kept[threshold] += ((blurred(ball, blur) + 1) / 2 >= threshold).sum()
        assert kept[forecasting["voxel_threshold"]] / true == pytest.approx(1, abs=0.2)
        assert kept[0.5] / true < 0.85


def test_draws_that_are_the_truth_say_the_truth(made_slabs, shards, tmp_path):
    """Both are counted by one rule where nothing is opened, and the voxels' probabilities are certain and right."""
    [shard] = shards(1)
    places = made_slabs.patients.set_index("subject").loc[shard.manifest["subject"], "row"]
    true = np.packbits(made_slabs.array("net2")[places.to_numpy()], axis=-1)
    perfect = shard._replace(stored={MASK_ARRAY: np.repeat(true[:, None], 5, axis=1)})
    score_forecasts(made_slabs, [perfect], READOUT.model_copy(update={"opening_voxels": (1, 1, 1)}), tmp_path / "out")
    patients, voxels = (read(tmp_path / "out", name) for name in ("patients.tsv", "voxels.tsv"))
    # A lesion of the made-up slabs is one square, whatever number their table states.
    assert patients["count_mean"].tolist() == patients["ensemble_count"].tolist() == [0, 1] * 3
    for predicted, found in [
        ("activity_probability", "true_active"),
        ("cerebral_white_matter_score", "true_cerebral_white_matter"),
        ("cerebral_white_matter_share", "true_cerebral_white_matter"),
        ("cerebral_cortex_score", "true_cerebral_cortex"),
    ]:
        assert (patients[predicted] == patients[found]).all()
    assert (voxels["positive_voxels"] == voxels["voxels"] * voxels["probability"]).all()
