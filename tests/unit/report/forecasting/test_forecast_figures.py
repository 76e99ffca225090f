import forecast_cases as cases
import numpy as np
import pytest
from indexed import open_slabs

from msdiff.errors import BadInput
from msdiff.report.forecasting.figures import plot_forecasts, plot_heat_maps, plot_one_patient
from msdiff.report.forecasting.reading import read_forecasts, sampled_masks, shown_patients


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecasting")
    cases.write_slabs(folder / "slabs")
    cases.write_forecasts(folder / "test", every_arm=False, with_probability=True)
    cases.write_forecasts(folder / "counterfactuals", every_arm=True, with_probability=False)
    return folder


@pytest.fixture(scope="module")
def slabs(folder):
    return open_slabs(folder / "slabs")


@pytest.fixture(scope="module")
def read(folder):
    """Forecasts of a purpose, their shards in another order."""

    def build(purpose):
        return read_forecasts(folder / purpose / "scores", sorted((folder / purpose / "shards").iterdir())[::-1])

    return build


def labels(picture):
    return [axis.get_ylabel() for axis in picture.figure.axes if axis.get_ylabel()]


def below(picture):
    return [axis.get_xlabel() for axis in picture.figure.axes if axis.get_xlabel()]


def test_patients_are_chosen_by_their_outcome(slabs, read):
    """The median of the active of each arm, least effective first, and one without a lesion."""
    forecasts = read("test")
    assert shown_patients(forecasts, slabs.arms, 4)["subject"].tolist() == [
        *("sub-0003", "sub-0002", "sub-0004", "sub-0006")
    ]
    assert shown_patients(forecasts, slabs.arms, 2)["subject"].tolist() == ["sub-0003", "sub-0006"]
    assert shown_patients(forecasts, slabs.arms, 1)["subject"].tolist() == ["sub-0003"]
    other = forecasts._replace(draws=forecasts.draws.assign(count=0))
    assert shown_patients(other, slabs.arms, 4).equals(shown_patients(forecasts, slabs.arms, 4))


def test_masks_are_read_from_whichever_shard_holds_them(slabs, read):
    masks = sampled_masks(read("counterfactuals"), "sub-0001", "placebo")
    assert masks.shape == (cases.DRAWS, *cases.SHAPE[::-1])
    np.testing.assert_array_equal(masks[1], cases.lesions(3))
    with pytest.raises(BadInput, match="sub-0001 under nothing: in none of the shards"):
        sampled_masks(read("test"), "sub-0001", "nothing")


def test_forecasts_stand_beside_the_outcome(slabs, read):
    picture = plot_forecasts(slabs, read("test"), 3)
    titles = [axis.get_title() for axis in picture.figure.axes[:5]]
    assert titles == ["FLAIR, w048", "True outcome, w096", *(f"Forecast {n} of 8" for n in (1, 2, 3))]
    assert [label.split("\n")[1].split(",")[0] for label in labels(picture)] == ["sub-0003", "sub-0004", "sub-0006"]
    assert labels(picture)[0] == "placebo\nsub-0003, z = 12 mm"
    # High efficacy has 2 active draws of 8, of one lesion each.
    assert below(picture)[-4:] == ["0 new lesions", "1 lesion", "1 lesion", "0 lesions"]
    assert "One test patient per row (3 of 7)" in picture.caption
    assert "neurological" in picture.caption


def test_what_is_filled_is_the_mask(slabs, read):
    axes = plot_forecasts(slabs, read("test"), 1).figure.axes
    brain = np.asarray(axes[0].images[0].get_array())
    true, second = (np.asarray(axis.images[1].get_array())[..., 3] > 0 for axis in (axes[1], axes[3]))
    window = (slice(*_range(cases.brain_of(2)[2], 1)), slice(*_range(cases.brain_of(2)[2], 0)))
    np.testing.assert_array_equal(true, cases.lesions(2)[2][window])
    # Of the fixture's draws the second lies where the truth does.
    np.testing.assert_array_equal(second, true)
    # The brain is whole, with two voxels around it, and anterior is up: the fixture is brighter in front.
    assert brain.shape == true.shape
    for edge in (brain[:2], brain[-2:], brain[:, :2], brain[:, -2:]):
        assert (edge == -1).all()
    assert axes[0].images[0].origin == "lower"
    assert brain[-12:-6][brain[-12:-6] > -1].mean() > brain[6:12][brain[6:12] > -1].mean()


def test_every_brain_has_the_same_grey(slabs, read):
    axes = plot_forecasts(slabs, read("test"), 4).figure.axes
    for axis in axes[0:20:5]:
        shown = np.asarray(axis.images[0].get_array())
        assert np.median(shown[shown > -1]) == pytest.approx(0, abs=0.02)


def _range(mask, axis):
    places = np.flatnonzero(mask.any(axis=axis))
    return max(0, places[0] - 2), places[-1] + 3


def test_heat_maps_hold_the_share_of_draws(slabs, read):
    forecasts = read("test")
    picture = plot_heat_maps(slabs, forecasts, 4)
    axes = picture.figure.axes
    assert [axis.get_title() for axis in axes[:4]][1:] == ["Forecast, same slice", "Enlarged", "Forecast, all slices"]
    first = shown_patients(forecasts, slabs.arms, 4).index[0]
    shown = np.asarray(axes[1].images[1].get_array())
    assert shown.max() == pytest.approx(float(forecasts.probability[first].max()), abs=1e-3)
    assert axes[1].images[1].get_clim() == (0, 1)
    assert axes[-1].get_ylabel() == "probability (share of 8 forecasts)"
    assert below(picture)[:2] == ["2 new lesions", "active in 8 of 8"]
    assert below(picture)[-3:] == ["0 new lesions", "active in 2 of 8", "mean count 0.25"]
    assert plot_heat_maps(slabs, forecasts._replace(probability=None), 4) is None


def test_the_true_outcome_is_outlined_where_it_is_known(slabs, read):
    axes = plot_heat_maps(slabs, read("test"), 4).figure.axes
    # Contours of the truth, on the slice and on all slices; the last row has none.
    assert all(axis.collections for axis in axes[1:4])
    assert not any(axis.collections for axis in axes[12:16])


def test_one_patient_under_every_arm(slabs, read):
    picture = plot_one_patient(slabs, read("counterfactuals"))
    titles = [axis.get_title() for axis in picture.figure.axes if axis.get_title()]
    assert titles == ["True outcome, w096", "placebo", "mild efficacy", "high efficacy"]
    under = [text for text in below(picture) if text.startswith("mean")]
    assert under == [
        "mean count 2\nactive in 100 %", "mean count 1.25\nactive in 62 %", "mean count 0.5\nactive in 25 %"
    ]  # fmt: skip
    assert "sub-0003 of the arm placebo" in picture.caption
    heat = [axis for axis in picture.figure.axes if axis.get_xlabel().startswith("mean")]
    assert [bool(axis.collections) for axis in heat] == [True, False, False]


def test_without_patients_there_is_no_figure(slabs, read):
    forecasts = read("counterfactuals")
    none = forecasts._replace(patients=forecasts.patients.iloc[:0])
    assert plot_forecasts(slabs, none, 3) is None
    assert plot_one_patient(slabs, none) is None
