import numpy as np
import pytest
import torch

from msdiff.errors import BadInput, BadSettings
from msdiff.forecasting import reading


def test_patients_of_the_training_split_are_read(stage_slabs):
    patients = reading.training_patients(stage_slabs)
    assert len(patients) == 16
    assert set(patients["split"]) == {"train"}


def test_nothing_to_learn_is_refused(stage_slabs):
    none = stage_slabs._replace(patients=stage_slabs.patients.assign(count=0))
    with pytest.raises(BadInput, match="got 16 without"):
        reading.training_patients(none)
    untrained = stage_slabs._replace(patients=stage_slabs.patients.assign(split="test"))
    with pytest.raises(BadInput, match=r"expected patients of split train.* got 0 without"):
        reading.training_patients(untrained)


def test_channels_are_those_of_the_sessions(stage_slabs):
    assert reading.generated_channels(stage_slabs, ["flair", "net2"]) == ["flair@w096", "net2@w096"]
    before = ["flair@w000", "lesion_mask@w000"]
    assert reading.given_channels(stage_slabs, ["w000"]) == before
    second = ["flair@w048", "lesion_mask@w048", "net2@w048"]
    assert reading.given_channels(stage_slabs, ["w000", "w048"]) == before + second
    with pytest.raises(BadInput, match="expected channels of session w024"):
        reading.given_channels(stage_slabs, ["w000", "w024"])


def test_a_model_is_never_given_what_it_forecasts(stage_slabs):
    with pytest.raises(BadSettings, match="expected sessions before w096"):
        reading.given_channels(stage_slabs, ["w048", "w096"])


def test_a_batch_holds_what_is_asked_for(stage_slabs):
    patients = reading.training_patients(stage_slabs).iloc[3:]
    given = reading.given_channels(stage_slabs, ["w000", "w048"])
    generated = ["flair@w096", "net2@w096"]
    batch = reading.Reader(stage_slabs, patients, generated, given)(np.array([2, 0]), np.random.default_rng(0))
    channels = stage_slabs.array("channels")
    for place, row in enumerate((5, 3)):
        for name, names in {"x": generated, "images": given}.items():
            expected = channels[row][stage_slabs.places(*names)].astype(np.float32)
            np.testing.assert_array_equal(batch[name][place], expected)
        np.testing.assert_array_equal(batch["lesions"][place, 0], stage_slabs.array("net2")[row])
    assert batch["arm"].tolist() == [5 % 3, 3 % 3]
    assert batch["lesions"].flatten(1).any(1).tolist() == [False, True]


def test_flips_are_of_all_or_nothing_of_a_patient(stage_slabs):
    patients = reading.training_patients(stage_slabs)
    given = reading.given_channels(stage_slabs, ["w048"])
    plain = reading.Reader(stage_slabs, patients, ["net2@w096"], given)
    indices = np.resize(np.arange(16), 400)
    before = plain(indices, np.random.default_rng(0))
    after = reading.Reader(stage_slabs, patients, ["net2@w096"], given, flip=0.25)(indices, np.random.default_rng(0))
    flipped = (after["images"] != before["images"]).flatten(1).any(1)
    assert 0.15 < flipped.float().mean() < 0.35
    for name in ("x", "images", "lesions"):
        assert torch.equal(after[name][flipped], before[name][flipped].flip(-1))
        assert torch.equal(after[name][~flipped], before[name][~flipped])
