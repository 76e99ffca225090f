import pandas as pd
import pytest

from msdiff.errors import BadInput
from msdiff.forecasting.options import DrawSettings
from msdiff.forecasting.plan import COLUMNS, choose, plan_forecasts
from msdiff.forecasting.slabs import Slabs
from msdiff.settings import check

ARMS = ["placebo", "high_efficacy", "mild_efficacy"]
PLAIN = {
    "model": "two_sessions",
    "split": "test",
    "arms": "own",
    "draws": 2,
    "patients": None,
    "shared_noise": False,
    "shards": 1,
}


def draws(**changes: object) -> DrawSettings:
    return check(DrawSettings, PLAIN | changes)


@pytest.fixture
def patients() -> pd.DataFrame:
    """Thirty test patients, ten of an arm, ten of them active, and one to train on."""
    rows = [
        {"subject": f"sub-{number:02d}", "arm": ARMS[number % 3], "split": "test", "count": int(number < 10)}
        for number in range(30)
    ]
    return pd.DataFrame([*rows, {"subject": "sub-99", "arm": "placebo", "split": "train", "count": 1}])


@pytest.fixture
def slabs(made_slabs: Slabs, patients: pd.DataFrame) -> Slabs:
    """Slabs of these patients, as far as a plan reads them."""
    return made_slabs._replace(patients=patients, arms=ARMS)


def test_every_patient_of_the_split_under_its_own_arm_or_all(slabs: Slabs) -> None:
    own = plan_forecasts(slabs, draws(), 0)
    assert own.columns.tolist() == COLUMNS
    assert own["subject"].tolist() == [f"sub-{number:02d}" for number in range(30)]
    assert (own["arm"] == own["own_arm"]).all()
    every = plan_forecasts(slabs, draws(arms="all"), 0)
    assert every["row"].tolist() == list(range(90))
    assert every.groupby("subject")["arm"].agg(list).map(ARMS.__eq__).all()
    assert (every["arm"] == every["own_arm"]).sum() == 30


def test_the_chosen_are_active_and_inactive_and_of_all_arms(patients: pd.DataFrame) -> None:
    test = patients[patients["split"] == "test"]
    for seed in range(5):
        chosen = test.set_index("subject").loc[choose(test, 6, seed)]
        assert (chosen["count"] > 0).sum() == 3
        assert chosen["arm"].value_counts().tolist() == [2, 2, 2]
    assert choose(test, 4, 0) == choose(test, 6, 0)[:4]
    assert choose(test, 6, 0) == choose(test.iloc[::-1], 6, 0)
    assert choose(test, 6, 0) != choose(test, 6, 1)


def test_where_one_kind_is_used_up_the_other_goes_on(slabs: Slabs, patients: pd.DataFrame) -> None:
    test = patients[patients["split"] == "test"]
    assert len(choose(test, 25, 0)) == 25
    assert sorted(choose(test, 99, 0)) == test["subject"].tolist()
    assert len(choose(test[test["count"] == 0], 3, 0)) == 3
    some = plan_forecasts(slabs, draws(patients=4, arms="all"), 0)
    assert some["subject"].is_monotonic_increasing
    assert some["subject"].nunique() == 4


def test_a_split_without_patients_is_told(slabs: Slabs) -> None:
    with pytest.raises(
        BadInput, match=r"slabs: expected patients of the split validation .*, got 30 of test, 1 of train"
    ):
        plan_forecasts(slabs, draws(split="validation"), 0)
