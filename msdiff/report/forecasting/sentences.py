"""Sentences on forecasts: who becomes active, where, how many lesions, under which treatment, and how it holds."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from msdiff.report.phrases import FEW_PATIENTS, capital, count, estimate, limits, listed, number, percent
from msdiff.report.run import Run, patients_of, simulated
from msdiff.report.words import write

FORECAST, CHANCE, AVERAGE, ALL = "net2", "monte_carlo", "average", "all"
# What chance gives.
AUC_OF_CHANCE = 0.5


def forecast_cohort(run: Run) -> str | None:
    """The cohort whose future is forecast; None where this study has none."""
    name = run.setting(f"forecasting.cohorts.{run.setting('study')}")
    return None if name is None else str(name)


def about_activity_prediction(run: Run) -> str:
    """Whether forecasts tell who becomes active, over all arms and within them."""
    ours = run.ours("activity_prediction")
    forecast = ours[ours["method"] == FORECAST].set_index("arm")
    sentences = [*about_activity(run), *_within_arms(forecast.drop(index=ALL, errors="ignore"))]
    papers = run.papers("activity_prediction")
    published = papers.loc[papers["method"] == FORECAST, "auc"].dropna() if len(papers) else papers
    if len(published):
        sentences.append(
            f"In the paper the AUC is {number(published.min())} to {number(published.max())} by arm, on its own test "
            "patients, whose number of active ones it does not print."
        )
    return " ".join([*sentences, _rests_on(forecast)])


def about_activity(run: Run) -> Iterator[str]:
    """The AUC over all arms, beside that of the baseline."""
    ours = run.ours("activity_prediction")
    rows = ours[ours["arm"] == ALL].set_index("method") if len(ours) else ours
    if FORECAST not in rows.index:
        return
    row = rows.loc[FORECAST]
    active = f"{row['n_positive']:.0f} of {count(row['n'], 'test patient')}"
    if np.isnan(row["auc"]):
        yield f"{active} had a new lesion: without both kinds of patients nothing can be distinguished."
        return
    yield (
        f"{active} had a new lesion; the share of forecasts with one ranks them above the others with an AUC of "
        f"{estimate(row, 'auc')}{_beside(row, 'auc', AUC_OF_CHANCE)}."
    )
    if CHANCE in rows.index and not np.isnan(rows.loc[CHANCE, "auc"]):
        yield (
            f"Outcomes sampled with the share of the patient's own arm reach {number(rows.loc[CHANCE, 'auc'])}"
            f"{_gain(row, 'auc_difference')}."
        )


def _within_arms(arms: pd.DataFrame) -> Iterator[str]:
    known = arms.dropna(subset=["auc"])
    if known.empty:
        yield "In no arm are there active and inactive test patients, so that this may be the arm alone."
        return
    beyond = [write(str(arm)) for arm, row in known.iterrows() if limits(row, "auc")[0] > AUC_OF_CHANCE]
    what = f"in {listed(beyond)}" if beyond else "in none"
    yield (
        f"Over all arms even a forecast ranks well that knows nothing but the treatment; of the "
        f"{count(len(known), 'arm')} that can have an AUC, the interval lies above {AUC_OF_CHANCE} {what}."
    )
    fewest = known.loc[known["n_positive"].idxmin()]
    yield (
        f"Fewest are active in {write(str(fewest.name))}: {fewest['n_positive']:.0f} of {fewest['n']:.0f}"
        f"{', on whom its AUC and average precision rest' if fewest['n_positive'] < FEW_PATIENTS else ''}."
    )


def about_regional_accuracy(run: Run) -> str:
    """Whether forecasts tell in which regions lesions come."""
    ours = run.ours("regional_accuracy")
    forecast = ours[ours["method"] == FORECAST].set_index("region")
    papers = run.papers("regional_accuracy")
    sentences = []
    for region, row in forecast.iterrows():
        name = write(str(region))
        having = f"{row['n_positive']:.0f} of {count(row['n'], 'test patient')} had a new lesion in the {name}"
        if np.isnan(row["balanced_accuracy"]):
            sentences.append(f"{having}: no accuracy follows from that.")
            continue
        sentences.append(
            f"{having}: balanced accuracy {estimate(row, 'balanced_accuracy')}"
            f"{_beside(row, 'balanced_accuracy', AUC_OF_CHANCE)}"
            f"{_gain(row, 'balanced_accuracy_difference', 'to outcomes sampled by share')}."
        )
    if "threshold" in forecast and forecast["threshold"].notna().any():
        sentences.append(
            f"A region counts as forecast where its score reaches {number(forecast['threshold'].dropna().iloc[0])}, "
            "which was chosen without the test patients."
        )
    sentences.append(
        "The forecast knows the treatment, outcomes sampled by share do not. "
        "A region is a large part of the brain: to be right about it is not to know the place of a lesion."
    )
    published = papers[papers["method"] == FORECAST] if len(papers) else papers
    if len(published):
        numbers = [f"{number(row.balanced_accuracy)} ({write(row.region)})" for row in published.itertuples()]
        sentences.append(f"The paper's balanced accuracy, on its own test patients: {listed(numbers)}.")
    return " ".join([*sentences, _rests_on(forecast)])


def about_lesion_count(run: Run) -> str:
    """Whether forecasts tell how many lesions come."""
    ours = run.ours("lesion_count")
    forecast = ours[ours["method"] == FORECAST].set_index("arm").dropna(subset=["mse_log_count"])
    average = ours[ours["method"] == AVERAGE].set_index("arm")["mse_log_count"]
    sentences = []
    if ALL in forecast.index:
        row = forecast.loc[ALL]
        sentences.append(
            f"The squared error of the log count is {estimate(row, 'mse_log_count')} with the forecasts' mean count "
            f"and {number(average[ALL])} with the average count of the patient's arm"
            f"{_gain(row, 'mse_log_count_difference')}."
        )
    arms = forecast.drop(index=ALL, errors="ignore")
    better = [write(str(arm)) for arm in arms.index if arms.loc[arm, "mse_log_count"] < average[arm]]
    if len(arms):
        found = f"{len(better)} of {count(len(arms), 'arm')}" + (f" ({listed(better)})" if better else "")
        sentences.append(f"Its error is the smaller one in {found}; where hardly anybody has a lesion both are near 0.")
    return " ".join([*sentences, _rests_on(forecast)])


def about_counterfactuals(run: Run) -> str:
    """Whether forecasts of the same patients fall with the efficacy of the treatment, and what that does not show."""
    ours = _with_patients(run)
    sentences = [*about_trend(run)]
    if len(ours) > 1 and not np.isnan(ours.iloc[-1].get("fewer_lesions_share", np.nan)):
        last = ours.iloc[-1]
        sentences.append(
            f"Of the patients {percent(last['fewer_lesions_share'])} are forecast fewer lesions under "
            f"{write(str(last['arm']))} than under {write(str(ours.iloc[0]['arm']))}."
        )
    sentences.append(
        "The network learned treatments from different patients in each arm, and nobody's outcome under another "
        "treatment than the own is ever seen: no number here is the effect of a treatment on a patient."
    )
    return " ".join([*sentences, _rests_on(ours)])


def about_trend(run: Run) -> Iterator[str]:
    """How predicted counts and activity change from the least to the most effective arm."""
    ours = _with_patients(run)
    if len(ours) < 2:
        return
    first, last = ours.iloc[0], ours.iloc[-1]
    moves = {True: "falls", False: "does not fall"}
    names = {"mean_predicted_count": "the mean predicted count", "active_fraction": "the share of active forecasts"}
    parts = [
        f"{text} {moves[bool(last[metric] < first[metric])]} ({estimate(first, metric)} to {estimate(last, metric)})"
        for metric, text in names.items()
    ]
    yield (
        f"For the same {count(first['n'], 'test patient')} and the same noise, from {write(str(first['arm']))} to "
        f"{write(str(last['arm']))} {listed(parts)}"
        f"{_gain(last, 'active_difference_to_placebo', 'in activity')}."
    )
    rises = [
        f"from {write(str(before['arm']))} to {write(str(after['arm']))}"
        for (_, before), (_, after) in zip(ours.iloc[:-1].iterrows(), ours.iloc[1:].iterrows(), strict=True)
        if after["active_fraction"] > before["active_fraction"]
    ]
    if rises and last["active_fraction"] < first["active_fraction"]:
        yield f"Not at every step: the share of active forecasts rises {listed(rises)}."


def _with_patients(run: Run) -> pd.DataFrame:
    """The rows of the arms that somebody was forecast under."""
    ours = run.ours("counterfactuals")
    return ours[ours["n"] > 0] if len(ours) else ours


def about_calibration(run: Run) -> str:
    """Whether forecast probabilities are the shares that come true."""
    ours = run.ours("calibration")
    names = {"activity": "a patient has a new lesion", "voxel": "a voxel lies in a new lesion"}
    sentences = []
    for quantity, what in names.items():
        rows = ours[ours["quantity"] == quantity]
        total = rows[rows["bin"] == ALL]
        if total.empty or np.isnan(total.iloc[0]["observed"]):
            continue
        row = total.iloc[0]
        low, high = limits(row, "observed")
        verdict = "too high" if row["predicted"] > high else "too low" if row["predicted"] < low else "in its interval"
        sentences.append(
            f"That {what} is forecast with a probability of {number(row['predicted'])} on average, and came true in "
            f"{estimate(row, 'observed')}: the forecast is {verdict}."
        )
        sentences += _about_brier(row)
        bins = rows[(rows["bin"] != ALL) & (rows["n"] > 0)].dropna(subset=["observed"])
        off = (bins["predicted"] < bins["observed_lo"]) | (bins["predicted"] > bins["observed_hi"])
        sentences.append(
            f"In {int(off.sum())} of {count(len(bins), 'bin')} the mean forecast lies outside the interval of what "
            "came true."
        )
    sentences.append("Probabilities that hold on average may be wrong for every single patient.")
    totals = ours[ours["bin"] == ALL]
    return " ".join([*sentences, _rests_on(totals)])


def _about_brier(row: pd.Series) -> Iterator[str]:
    if np.isnan(row["brier"]) or np.isnan(row["baseline_brier"]):
        return
    better = row["brier"] < row["baseline_brier"]
    yield (
        f"The Brier score is {estimate(row, 'brier')}, {'less' if better else 'no less'} than the "
        f"{number(row['baseline_brier'])} of the arm's share in the training set{_gain(row, 'brier_difference')}."
    )


def _beside(row: pd.Series, metric: str, value: float) -> str:
    """Where an interval lies beside what chance gives, as the rest of a sentence."""
    low, high = limits(row, metric)
    if np.isnan([low, high]).any():
        return ""
    if low > value:
        return f", beyond the {number(value)} of chance"
    if high < value:
        return f", below the {number(value)} of chance"
    return f", which does not leave the {number(value)} of chance"


def _gain(row: pd.Series, column: str, what: str = "") -> str:
    """A difference and whether its interval excludes 0, as the rest of a sentence; empty where there is none."""
    if np.isnan(row.get(column, np.nan)):
        return ""
    low, high = limits(row, column)
    chance = np.isnan([low, high]).any() or low <= 0 <= high
    verdict = "which chance may explain" if chance else "an interval without 0"
    return f"; the difference {what + ' ' if what else ''}is {estimate(row, column)}, {verdict}"


def _rests_on(rows: pd.DataFrame) -> str:
    """On how many patients it rests, all arms together; empty without rows."""
    if rows.empty:
        return ""
    n = int(rows["n"].max())
    few = ", too few for any conclusion" if n < FEW_PATIENTS else ""
    return capital(f"all this rests on {count(n, 'test patient')}{few}.")


def about_forecasters(run: Run) -> Iterator[str]:
    """On whom forecasts were learned, and how many were sampled of whom."""
    cohort, tested, draws = forecast_cohort(run), _tested_patients(run), run.setting("forecasting.draws")
    if cohort is None or tested is None or draws is None:
        return
    patients = patients_of(run, cohort)
    of_whom = "" if patients is None else f" ({count(patients, 'patient')})"
    kind = "simulated cohort" if simulated(run, cohort) else "cohort"
    yield (
        f"A forecaster of new lesions was trained on the {kind} {cohort}{of_whom} and sampled "
        f"{count(draws['test']['draws'], 'forecast')} for each of {count(tested, 'test patient')}."
    )


def _tested_patients(run: Run) -> int | None:
    """Test patients of the forecasts, all arms together; None without forecasts."""
    ours = run.ours("activity_prediction")
    return int(ours["n"].max()) if len(ours) else None


def about_forecasts(run: Run) -> Iterator[str]:
    """The main numbers, and how they change with the treatment."""
    yield from about_activity(run)
    yield from about_trend(run)


def about_limits(run: Run) -> Iterator[str]:
    """What forecasts under another treatment do not show."""
    if len(run.ours("counterfactuals")):
        yield "What a patient would have had under another treatment is not known, so no forecast of it is checked."


def tested(run: Run) -> dict[str, int]:
    """Test patients of the forecasts."""
    patients = _tested_patients(run)
    return {} if patients is None else {"forecast test": patients}


def forecast_facts(run: Run) -> dict[str, str]:
    """The cohort of the forecasts, where it is not the study's."""
    cohort = forecast_cohort(run)
    patients = None if cohort is None else patients_of(run, cohort)
    if cohort == run.setting("study") or patients is None:
        return {}
    return {"Cohort of forecasts": f"{cohort}: {count(patients, 'patient')} with a follow-up"}
