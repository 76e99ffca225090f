import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage

from msdiff.errors import BadInput
from msdiff.privacy import nearest as module
from msdiff.privacy.slices import AveragedSlices, correlations
from msdiff.privacy.thresholds import NearestSettings

SETTINGS = NearestSettings(reference=("validation", "test"), percentile=99.0)


def shares(stack, embedding, folder):
    """Share of flagged samples by measure."""
    rows = module.find_nearest(stack, [folder], embedding, SETTINGS)
    return rows[rows["kind"] == "synthetic"].groupby("measure")["flagged"].mean(), rows


def test_search_agrees_with_a_loop_over_correlations():
    rng = np.random.default_rng(0)
    queries, references = rng.normal(size=(30, 50)), rng.normal(size=(20, 50))
    patients, others = pd.Series(rng.choice(list("abc"), 30)), pd.Series(rng.choice(list("abc"), 20))

    def whole(vectors):
        return AveragedSlices(vectors.astype(np.float32), np.ones(vectors.shape, dtype=np.float32))

    def similarities(part):
        return correlations(whole(queries).at(part), whole(references), 0.5)

    similarity, place = module.nearest(similarities, patients, others)
    for k, query in enumerate(queries):
        allowed = np.flatnonzero(others != patients[k])
        loop = [np.corrcoef(query, references[j])[0, 1] for j in allowed]
        assert similarity[k] == pytest.approx(max(loop), abs=1e-5)
        assert place[k] == allowed[int(np.argmax(loop))]


def test_blocks_do_not_change_the_result(monkeypatch, stack, embedding, sample):
    folder = sample(lambda row: stack.array("flair")[row["baseline_row"], row["slice"]], n=50)
    whole = module.find_nearest(stack, [folder], embedding, SETTINGS)
    monkeypatch.setattr(module, "QUERIES", 7)
    parts = module.find_nearest(stack, [folder], embedding, SETTINGS)
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-5)


def test_a_patient_without_others_is_bad_input():
    with pytest.raises(BadInput, match="another patient than a"):
        module.nearest(lambda part: torch.ones(1, 1), pd.Series(["a"]), pd.Series(["a"]))


def test_a_generator_that_copies_other_patients_is_flagged(stack, embedding, sample, in_brain, make_manifest):
    images = stack.array("flair")
    folder = sample(lambda row: in_brain(row, images[row["mask_row"], row["slice"]]))
    flagged, rows = shares(stack, embedding, folder)
    assert flagged["pixel_correlation"] > 0.95
    # A small encoder after seconds of training.
    assert flagged["embedding"] > 0.5
    pixels = rows[(rows["measure"] == "pixel_correlation") & (rows["kind"] == "synthetic")]
    # Not one: at the rim, where the copied patient had no brain.
    assert pixels["similarity"].median() > 0.93
    copied = make_manifest(stack, len(pixels))["mask_subject"]
    assert (pixels["nearest_subject"].to_numpy() == copied.to_numpy()).mean() > 0.99


def test_new_patients_are_flagged_about_as_often_as_the_percentile_says(stack, embedding, sample, acquire, in_brain):
    folder = sample(lambda row: in_brain(row, acquire(1000 + row["sample"], 1)[0][row["slice"]]))
    flagged, _ = shares(stack, embedding, folder)
    # One in a hundred of 384 slices is expected; the limit itself is known from 320 slices.
    assert (flagged < 0.04).all()


def test_a_copy_of_the_own_baseline_is_by_design_and_not_flagged(stack, embedding, sample):
    images, rng = stack.array("flair"), np.random.default_rng(0)

    def noisy(row):
        image = images[row["baseline_row"], row["slice"]].astype(np.float32)
        return np.where(image > -1, image + rng.normal(0, 0.05, image.shape), -1)

    flagged, rows = shares(stack, embedding, sample(noisy))
    assert (flagged < 0.06).all()
    synthetic = rows[rows["kind"] == "synthetic"]
    assert (synthetic["baseline_similarity"] > 0.9).mean() > 0.95
    # Both hold noise that the real follow-up does not share.
    medians = synthetic.groupby("measure")[["follow_up_similarity", "real_similarity"]].median()
    assert (medians["follow_up_similarity"] < medians["real_similarity"]).all()
    # Little noise: nearly what its baseline already is to others.
    assert (synthetic["baseline_nearest"] - synthetic["similarity"]).abs().groupby(
        rows["measure"]
    ).median().max() < 0.03


def test_the_embedding_finds_flipped_copies_that_pixels_miss(stack, embedding, sample, in_brain):
    images = stack.array("flair")
    folder = sample(lambda row: in_brain(row, images[row["mask_row"], row["slice"], :, ::-1]))
    flagged, _ = shares(stack, embedding, folder)
    assert flagged["embedding"] > 0.5 > flagged["pixel_correlation"]


def test_pixels_find_blurred_copies(stack, embedding, sample, in_brain):
    images = stack.array("flair")

    def blurred(row):
        image = images[row["mask_row"], row["slice"]].astype(np.float32)
        return in_brain(row, ndimage.gaussian_filter(image, 0.5))

    flagged, _ = shares(stack, embedding, sample(blurred))
    assert flagged["pixel_correlation"] > 0.9


def test_without_samples_or_reference_is_bad_input(stack, embedding, sample, own_stack):
    folder = sample(lambda row: stack.array("flair")[0, 0], n=4)
    trained = own_stack._replace(slices=own_stack.slices[own_stack.slices["split"] == "train"])
    only_test = NearestSettings(reference=("test",), percentile=99.0)
    with pytest.raises(BadInput, match="follow-ups of split test"):
        module.find_nearest(trained, [folder], embedding, only_test)
    kept = (own_stack.slices["split"] == "train") | (own_stack.slices["slice"] == 3)
    lower = own_stack._replace(slices=own_stack.slices[kept])
    folder = sample(lambda row: stack.array("flair")[0, 0], n=3)
    with pytest.raises(BadInput, match="at the levels"):
        module.find_nearest(lower, [folder], embedding, SETTINGS)


def test_other_sizes_are_bad_input(stack, embedding, sample):
    with pytest.raises(BadInput, match="sample on this stack"):
        module.find_nearest(stack, [sample(lambda row: np.zeros((8, 8)), n=2)], embedding, SETTINGS)


def test_samples_of_another_contrast_are_bad_input(stack, embedding, sample):
    shard = sample(lambda row: np.zeros(stack.array("flair").shape[2:]), n=1, contrast="t1w")
    with pytest.raises(BadInput, match=r"expected samples in flair.*got t1w"):
        module.find_nearest(stack, [shard], embedding, SETTINGS)
