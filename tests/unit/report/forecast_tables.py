"""Tables of forecasts as a run writes them, with outcomes that tests change."""

import pandas as pd

from msdiff.tables.layout import assemble, with_intervals

ARMS = ["placebo", "mild_efficacy", "high_efficacy"]


def spread(name, value, half):
    return {name: value, f"{name}_lo": value - half, f"{name}_hi": value + half}


def activity(paper=True):
    rows = []
    for arm, n, positive, auc in (
        ("placebo", 20, 11, 0.7), ("mild_efficacy", 10, 4, 0.6), ("high_efficacy", 12, 1, 0.9), ("all", 42, 16, 0.8)
    ):  # fmt: skip
        keys = {"cohort": "trials", "arm": arm, "n": n, "n_positive": positive}
        rows.append(
            keys | {"method": "net2"} | spread("ap", auc - 0.1, 0.1) | spread("auc", auc, 0.15)
            | spread("auc_difference", auc - 0.55, 0.2) | spread("ap_difference", 0.1, 0.2)
        )  # fmt: skip
        rows.append(keys | {"method": "monte_carlo"} | spread("ap", 0.4, 0.1) | spread("auc", 0.55, 0.05))
    papers = [
        {"cohort": "net2_trials", "arm": arm, "method": method, "ap": ap, "auc": auc}
        for arm, method, ap, auc in (
            ("placebo", "net2", 0.783, 0.826), ("placebo", "monte_carlo", 0.513, 0.495),
            ("low_efficacy", "net2", 0.623, 0.536), ("high_efficacy", "net2", 0.083, 0.868),
        )
    ]  # fmt: skip
    columns = ["cohort", "arm", "method", "n", "n_positive"]
    columns += with_intervals(["ap", "auc", "ap_difference", "auc_difference"])
    return assemble(rows, papers if paper else [], columns)


def regional():
    rows = []
    for region, positive, accuracy in (("cerebral_white_matter", 14, 0.7), ("cerebral_cortex", 4, 0.55)):
        keys = {"cohort": "trials", "region": region, "n": 42, "n_positive": positive}
        rows.append(
            keys | {"method": "net2", "threshold": 0.35} | spread("balanced_accuracy", accuracy, 0.1)
            | spread("f1", accuracy, 0.1) | spread("balanced_accuracy_difference", accuracy - 0.5, 0.1)
        )  # fmt: skip
        rows.append(
            keys | {"method": "monte_carlo", "training_prevalence": 0.3} | spread("balanced_accuracy", 0.5, 0.05)
        )
    papers = [
        {"cohort": "net2_trials", "region": "cerebral_white_matter", "method": "net2", "balanced_accuracy": 0.684},
        {"cohort": "net2_trials", "region": "cerebral_cortex", "method": "net2", "balanced_accuracy": 0.697},
    ]
    metrics = with_intervals(["balanced_accuracy", "f1", "balanced_accuracy_difference"])
    return assemble(
        rows, papers, ["cohort", "region", "method", "n", "n_positive", "training_prevalence", "threshold", *metrics]
    )


def counts():
    rows = []
    for arm, n, error, gain in (
        ("placebo", 20, 1.4, -0.3), ("mild_efficacy", 10, 0.8, -0.1), ("high_efficacy", 12, 0.02, 0.01),
        ("all", 42, 0.9, -0.2),
    ):  # fmt: skip
        keys = {"cohort": "trials", "arm": arm, "n": n, "n_positive": n // 2}
        difference = spread("mse_log_count_difference", gain, 0.15)
        rows.append(keys | {"method": "net2"} | spread("mse_log_count", error, 0.01) | difference)
        rows.append(keys | {"method": "average"} | spread("mse_log_count", error - gain, 0.01))
    papers = [
        {"cohort": "net2_trials", "arm": "placebo", "method": "net2", "mse_log_count": 1.538},
        {"cohort": "net2_trials", "arm": "placebo", "method": "average", "mse_log_count": 1.775},
    ]
    metrics = with_intervals(["mse_log_count", "mse_log_count_difference"])
    return assemble(rows, papers, ["cohort", "arm", "method", "n", "n_positive", *metrics])


def counterfactuals(values=((2.0, 0.8), (1.0, 0.5), (0.2, 0.1))):
    rows = []
    for arm, (mean, share) in zip(ARMS, values, strict=True):
        row = {"cohort": "trials", "arm": arm, "n": 42} | spread("mean_predicted_count", mean, 0.1)
        row |= spread("active_fraction", share, 0.05)
        if arm != "placebo":
            row |= spread("count_difference_to_placebo", mean - values[0][0], 0.3)
            row |= spread("active_difference_to_placebo", share - values[0][1], 0.1)
            row |= spread("fewer_lesions_share", 0.8, 0.1)
        rows.append(row)
    metrics = ["mean_predicted_count", "active_fraction", "count_difference_to_placebo", "active_difference_to_placebo"]
    return assemble(rows, [], ["cohort", "arm", "n", *with_intervals([*metrics, "fewer_lesions_share"])])


def calibration(observed=0.4, brier_difference=-0.05):
    rows = []
    for quantity, predicted, share in (("activity", 0.5, observed), ("voxel", 0.002, 0.0021)):
        total = {
            "cohort": "trials",
            "quantity": quantity,
            "bin": "all",
            "n": 42,
            "n_positive": 16,
            "predicted": predicted,
        }
        total |= spread("observed", share, 0.05) | spread("brier", 0.2, 0.02) | spread("baseline_brier", 0.25, 0.02)
        rows.append(total | spread("brier_difference", brier_difference, 0.03))
        for edge, n in ((0.0, 20), (0.2, 0), (0.4, 12), (0.6, 0), (0.8, 10)):
            row = {
                "cohort": "trials",
                "quantity": quantity,
                "bin": f"{edge:.1f}-{edge + 0.2:.1f}",
                "n": n,
                "n_positive": 0,
            }
            if n:
                row |= {"predicted": edge + 0.1, "n_positive": n // 2} | spread("observed", edge + 0.05, 0.03)
            rows.append(row)
    for row in rows[6:]:
        row |= {"n_voxels": 9000 * (row["n"] > 0), "n_positive_voxels": 30 * (row["n"] > 0)}
    keys = ["cohort", "quantity", "bin", "n", "n_positive", "n_voxels", "n_positive_voxels", "predicted"]
    return assemble(rows, [], [*keys, *with_intervals(["observed", "brier", "baseline_brier", "brier_difference"])])


def all_tables():
    return {
        "regional_accuracy": regional(),
        "activity_prediction": activity(),
        "lesion_count": counts(),
        "counterfactuals": counterfactuals(),
        "calibration": calibration(),
    }


def without(table, **columns):
    """A table of our rows alone with some columns changed."""
    return pd.DataFrame(table[table["source"] == "msdiff"]).assign(**columns)
