import numpy as np
import pandas as pd
import pytest
from indexed import open_stack

from msdiff.report.privacy.figures import plot_pairs, plot_similarities
from msdiff.sampling.shards import save_shard


@pytest.fixture
def stack(stack_folder):
    return open_stack(stack_folder)


@pytest.fixture
def shard(stack, tmp_path):
    manifest = pd.DataFrame({"sample": [4, 9, 2], "baseline_row": [0, 2, 0], "slice": [12, 12, 13]})
    images = np.stack([stack.array("flair")[row, 12] for row in (1, 3, 5)]).astype(np.float32)
    return save_shard(tmp_path / "000", manifest, follow_up=images, change_mask=np.zeros(images.shape, bool))


@pytest.fixture
def nearest():
    synthetic = {"kind": "synthetic", "sample": [4, 9, 2], "slice": [12, 12, 13], "similarity": [0.7, 0.9, 0.8]}
    synthetic |= {"baseline_similarity": [0.95, 0.96, 0.97], "subject": ["sub-0001", "sub-0002", "sub-0001"]}
    held_out = {"kind": "held_out", "sample": -1, "slice": [12, 13], "similarity": [0.6, 0.85], "subject": "sub-0003"}
    frame = pd.concat([pd.DataFrame(synthetic), pd.DataFrame(held_out)], ignore_index=True)
    found = {"nearest_subject": "sub-0002", "nearest_row": 3, "nearest_slice": 12}
    return frame.assign(measure="embedding", threshold=0.85, **found).assign(flagged=frame["similarity"] > 0.85)


def test_the_most_similar_pairs_come_first(stack, shard, nearest):
    picture = plot_pairs(stack, "flair", [shard], nearest, 2)
    labels = [axis.get_ylabel() for axis in picture.figure.axes[:10:5]]
    assert labels == ["sample 9\n0.900\nflagged", "sample 2\n0.800\nnot flagged"]
    assert "1 of 3 are flagged" in picture.caption
    # Sample 9 is the follow-up that is shown as its nearest: their difference is nothing but rounding.
    (difference,) = picture.figure.axes[2].get_images()
    assert np.abs(difference.get_array()).max() < 1e-3


def test_where_none_is_flagged_the_nearest_are_shown_and_it_is_said(stack, shard, nearest):
    picture = plot_pairs(stack, "flair", [shard], nearest.assign(flagged=0), 8)
    assert "none of 3 is flagged" in picture.caption
    assert "The 3 synthetic" in picture.caption


def test_distributions_have_the_limit_and_three_curves(nearest):
    both = pd.concat([nearest, nearest.assign(measure="pixel_correlation")])
    picture = plot_similarities(both)
    assert [axis.get_title() for axis in picture.figure.axes] == ["learned embedding", "pixel correlation"]
    texts = [text.get_text() for text in picture.figure.axes[0].get_legend().get_texts()]
    assert texts[-1] == "limit"
    assert len(texts) == 4
    assert "2 training patients" in picture.caption
    assert "of 1 held-out patient," in picture.caption
