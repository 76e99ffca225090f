import hypothesis
import pandas as pd
import pytest
from hypothesis import strategies

from msdiff.cohort.sheets import SPLITS
from msdiff.cohort.splits import SplitSettings, assign_splits
from msdiff.errors import BadSettings


def patients(**arms):
    names = [arm for arm, count in arms.items() for _ in range(count)]
    subjects = [f"sub-{number:04d}" for number in range(1, len(names) + 1)]
    return pd.DataFrame({"subject": subjects, "arm": names, "followed": True, "split": ""})


def settings(train, validation, test, seed=0):
    return SplitSettings(train=float(train), validation=float(validation), test=float(test), seed=seed)


def sizes(splits):
    return {name: int((splits == name).sum()) for name in ("train", "validation", "test")}


def test_counts_are_met_and_arms_are_spread():
    cohort = patients(placebo=85, treated=85)
    splits = assign_splits(cohort, settings(110, 30, 30))
    assert sizes(splits) == {"train": 110, "validation": 30, "test": 30}
    for arm in ("placebo", "treated"):
        assert sizes(splits[cohort["arm"] == arm]) == {"train": 55, "validation": 15, "test": 15}


def test_six_arms_keep_their_shares():
    arms = dict(zip("abcdef", (327, 237, 271, 529, 193, 574), strict=True))
    cohort = patients(**arms)
    splits = assign_splits(cohort, settings(0.8, 0.1, 0.1))
    assert sizes(splits) == {"train": 1705, "validation": 213, "test": 213}
    for arm, count in arms.items():
        of_arm = sizes(splits[cohort["arm"] == arm])
        for name, share in {"train": 0.8, "validation": 0.1, "test": 0.1}.items():
            assert abs(of_arm[name] - share * count) < 1


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(
    counts=strategies.lists(strategies.integers(1, 40), min_size=1, max_size=7),
    parts=strategies.tuples(strategies.integers(1, 9), strategies.integers(0, 3), strategies.integers(0, 3)),
    seed=strategies.integers(0, 5),
)
def test_every_arm_has_its_share_of_every_set(counts, parts, seed):
    shares = [part / sum(parts) for part in parts]
    cohort = patients(**{f"arm{number}": count for number, count in enumerate(counts)})
    splits = assign_splits(cohort, settings(*shares, seed=seed))
    for part, arm in [(cohort["subject"] != "", None), *((cohort["arm"] == arm, arm) for arm in set(cohort["arm"]))]:
        for (name, size), share in zip(sizes(splits[part]).items(), shares, strict=True):
            assert abs(size - share * part.sum()) < 1, (arm, name)


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(
    counts=strategies.lists(strategies.integers(1, 30), min_size=1, max_size=6),
    parts=strategies.tuples(strategies.integers(1, 9), strategies.integers(0, 5), strategies.integers(0, 5)),
)
def test_whole_numbers_are_met_and_spread(counts, parts):
    total = sum(counts)
    sets = [total * part // sum(parts) for part in parts]
    sets[0] += total - sum(sets)
    hypothesis.assume(abs(sum(sets) - 1) > 1e-6)
    cohort = patients(**{f"arm{number}": count for number, count in enumerate(counts)})
    splits = assign_splits(cohort, settings(*sets))
    assert list(sizes(splits).values()) == sets
    for number, count in enumerate(counts):
        of_arm = sizes(splits[cohort["arm"] == f"arm{number}"]).values()
        assert all(abs(size - of_set * count / total) < 1 for size, of_set in zip(of_arm, sets, strict=True))


@pytest.mark.parametrize("shares", [(0.65, 0.18, 0.17), (2, 0, 1), (0.7, 0.0, 0.3), (0.8, 0.1, 0.1)])
def test_three_patients_give_two_and_one(shares):
    assert sizes(assign_splits(patients(none=3), settings(*shares))) == {"train": 2, "validation": 0, "test": 1}


def test_the_seed_decides_and_order_does_not():
    cohort = patients(placebo=20, treated=20)
    one = assign_splits(cohort, settings(0.6, 0.2, 0.2))
    shuffled = cohort.sample(frac=1, random_state=1)
    other = assign_splits(shuffled, settings(0.6, 0.2, 0.2))
    assert dict(zip(cohort["subject"], one, strict=True)) == dict(zip(shuffled["subject"], other, strict=True))
    assert not one.equals(assign_splits(cohort, settings(0.6, 0.2, 0.2, seed=1)))


def test_given_splits_stay_and_count():
    cohort = patients(placebo=10)
    cohort.loc[:2, "split"] = "test"
    splits = assign_splits(cohort, settings(6, 1, 3))
    assert (splits[:3] == "test").all()
    assert sizes(splits) == {"train": 6, "validation": 1, "test": 3}
    cohort["split"] = "train"
    assert (assign_splits(cohort, settings(6, 1, 3)) == "train").all()


@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(
    rows=strategies.lists(
        strategies.tuples(
            strategies.sampled_from("abc"), strategies.booleans(), strategies.sampled_from(["", "", *SPLITS])
        ),
        min_size=2,
        max_size=40,
    )
)
def test_given_splits_stay_however_many_there_are(rows):
    cohort = pd.DataFrame(rows, columns=["arm", "followed", "split"])
    cohort["subject"] = [f"sub-{number:02d}" for number in range(len(cohort))]
    splits = assign_splits(cohort, settings(0.8, 0.1, 0.1))
    given = cohort["split"] != ""
    assert (splits[given] == cohort["split"][given]).all()
    assert splits.isin(SPLITS).all()


def test_the_few_that_are_left_open_are_assigned():
    cohort = patients(placebo=300, treated=20)
    cohort["split"] = "test"
    cohort.loc[[3, 4, 310], "split"] = ""
    splits = assign_splits(cohort, settings(0.8, 0.1, 0.1))
    assert sizes(splits[[3, 4, 310]]) == {"train": 3, "validation": 0, "test": 0}


@pytest.mark.parametrize("amounts", [(110, 30, 30), (0.5, 0.1, 0.1), (1.5, 0.5, 1)])
def test_amounts_that_do_not_fit_are_refused(amounts):
    with pytest.raises(BadSettings, match="3 patients"):
        assign_splits(patients(none=3), settings(*amounts))


def test_patients_with_a_follow_up_are_spread_too():
    cohort = patients(none=75)
    cohort.loc[25:, "followed"] = False
    splits = assign_splits(cohort, settings(0.6, 0.0, 0.4))
    assert sizes(splits[cohort["followed"]]) == {"train": 15, "validation": 0, "test": 10}
