import numpy as np
import pytest
from scipy.spatial.distance import cdist

from msdiff.errors import BadInput, BadSettings
from msdiff.phantom.activity import count_probabilities
from msdiff.phantom.anatomy import lesion_places
from msdiff.phantom.lesion_process import simulate_cohort, simulate_course
from msdiff.phantom.settings import PhantomSettings, roster
from msdiff.settings import check

SIX_ARMS = {
    "placebo": 327,
    "no_efficacy": 237,
    "low_efficacy": 271,
    "mild_efficacy": 529,
    "moderate_efficacy": 193,
    "high_efficacy": 574,
}


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_2131_patients_follow_table_1(values):
    """Means and active shares within 4.5 standard errors: 24 comparisons, one false alarm in 6,000 runs."""
    values["arms"] = SIX_ARMS
    settings = check(PhantomSettings, values)
    cohort = simulate_cohort(settings)
    assert cohort["subject"].nunique() == 2131
    for arm, patients in SIX_ARMS.items():
        for follow_up, session in enumerate(["ses-w048", "ses-w096"]):
            net2 = cohort[(cohort["arm"] == arm) & (cohort["session"] == session)]["net2"]
            mean = values["activity"][arm]["mean_count"][follow_up]
            share = values["activity"][arm]["active_percent"][follow_up] / 100
            probability = count_probabilities(share, mean, 0.8, 60)
            spread = np.sqrt(probability @ np.arange(61) ** 2 - mean**2)
            assert abs(net2.mean() - mean) < 4.5 * spread / np.sqrt(patients)
            assert abs((net2 > 0).mean() - share) < 4.5 * np.sqrt(share * (1 - share) / patients)
    fresh = cohort[cohort["session"] != "ses-w000"]
    shares = fresh[list(lesion_places())].sum() / fresh["net2"].sum()
    assert shares["periventricular"] == pytest.approx(0.42, abs=0.04)
    assert 0.02 < shares["cortical"] < 0.09
    assert 0.1 < fresh["enlarging"].sum() / fresh["net2"].sum() < 0.2


def test_a_patient_does_not_depend_on_the_others(values):
    few = check(PhantomSettings, values)
    values["arms"] = {"placebo": 300}
    many = check(PhantomSettings, values)
    assert same(simulate_course(few, "sub-0003"), simulate_course(many, "sub-0003"))
    assert not same(simulate_course(many, "sub-0003"), simulate_course(many, "sub-0004"))


def test_a_session_does_not_depend_on_later_ones(values):
    three = simulate_course(check(PhantomSettings, values), "sub-0002")
    values["sessions"] = ["w000", "w048"]
    two = simulate_course(check(PhantomSettings, values), "sub-0002")
    early = three.onset < 2
    np.testing.assert_array_equal(three.centre_mm[early], two.centre_mm)
    np.testing.assert_array_equal(three.radius_mm[early, :2], two.radius_mm)


def test_lesions_keep_apart(few_lesions):
    settings = check(PhantomSettings, few_lesions)
    for subject in roster(settings):
        course = simulate_course(settings, subject)
        extent = course.radius_mm.max(axis=1) * np.linalg.norm(course.axes, axis=1).max(axis=1)
        room = cdist(course.centre_mm, course.centre_mm) - extent[:, None] - extent
        assert room[course.lesion[:, None] != course.lesion].min(initial=99) >= 12.0 - 1e-6


def test_new_lesions_sit_near_enhancing_ones(values):
    values["arms"] = {"placebo": 150}
    values["lesions"] |= {"enlarging_share": 0.0, "region_share": {"deep": 1.0}}

    def median_distance(near_share):
        values["lesions"]["near_enhancing_share"] = near_share
        settings = check(PhantomSettings, values)
        distances = []
        for subject in roster(settings):
            course = simulate_course(settings, subject)
            enhancing, future = course.enhancing[:, 1], course.onset == 2
            if enhancing.any() and future.any():
                distances += cdist(course.centre_mm[future], course.centre_mm[enhancing]).min(axis=1).tolist()
        return np.median(distances)

    assert median_distance(1.0) < 0.6 * median_distance(0.0)


def test_lesions_enlarge_and_shrink(values):
    values["lesions"] |= {"enlarging_share": 0.5, "shrinking_share": 0.5}
    settings = check(PhantomSettings, values)
    courses = [simulate_course(settings, subject) for subject in roster(settings)]
    old = np.concatenate([course.radius_mm[course.onset == 0] for course in courses])
    ratio = old[:, 1] / old[:, 0]
    assert 0.3 < np.isclose(ratio, 0.85).mean() < 0.7
    assert np.isclose(ratio, 1).sum() == len(ratio) - np.isclose(ratio, 0.85).sum()
    enlarged = [np.intersect1d(course.lesion[course.onset > 0], course.lesion[course.onset == 0]) for course in courses]
    assert sum(map(len, enlarged)) > 0
    for course, lesions in zip(courses, enlarged, strict=True):
        assert (course.radius_mm[np.isin(course.lesion, lesions) & (course.onset == 0), 2] > 0).all()


def test_unknown_patient_is_refused(values):
    with pytest.raises(BadInput, match="sub-0007"):
        simulate_course(check(PhantomSettings, values), "sub-0007")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("arms", {"aspirin": 3}, "aspirin"),
        ("sessions", ["w000", "w048", "w048"], "sessions"),
        ("sessions", ["0", "48"], "sessions"),
        ("sessions", ["w000", "w048", "w096", "w144"], "follow-ups"),
        ("sede", 1, "sede"),
    ],
)
def test_impossible_settings_are_refused(values, key, value, message):
    with pytest.raises(BadSettings, match=message):
        check(PhantomSettings, values | {key: value})
