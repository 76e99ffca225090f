"""The papers' numbers, as printed, for the rows marked `paper`.

Long-MS-Diff     Mathur et al., MIDL 2025 short paper: table 1 and the text of section 3
NET2             Favero et al., arXiv 2508.07006 (2025): tables 1 to 4

Lesion-DDPM (arXiv 2606.15457) prints no image error in the text that is public, so image_quality has no paper's row.
"""

from typing import Any

LONG_MS_DIFF_COHORT = "long_ms_diff_internal"
NET2_COHORT = "net2_trials"

# Section 3: 170 patients, split 110/30/30.
LONG_MS_DIFF_TEST_PATIENTS = 30
# 47 + 51, and the same sum in every row of table 1.
LONG_MS_DIFF_TRUE_LESIONS = 98

# Table 1, "Performance of ViT (ResNet-50) trained with varying real-to-synthetic data".
AUGMENTATION: tuple[dict[str, Any], ...] = tuple(
    {
        "cohort": LONG_MS_DIFF_COHORT,
        "generator": "long_ms_diff",
        "architecture": "bit_resnet50",
        "real_synthetic": ratio,
        "n": LONG_MS_DIFF_TEST_PATIENTS,
        "dice": dice,
        "precision": precision,
        "recall": recall,
        "correct": correct,
        "false_positives": false_positives,
        "false_negatives": false_negatives,
    }
    for ratio, dice, precision, recall, correct, false_positives, false_negatives in (
        ("1:0", 0.245, 0.241, 0.360, 47, 305, 51),
        ("1:1", 0.370, 0.383, 0.495, 52, 273, 46),
        ("1:2", 0.382, 0.367, 0.593, 66, 460, 32),
        ("1:3", 0.311, 0.277, 0.520, 57, 471, 41),
    )
)

# Table 1: samples, average NET2 count and active patients in per cent, in the training set; w048 counts from w000,
# w096 from w048. Treatments by their efficacy, as the paper's abbreviations: laquinimod, avonex, interferon beta-1a,
# dimethyl fumarate, ocrelizumab. The table gives no more than the number of samples for all arms together.
COHORT: tuple[dict[str, Any], ...] = (
    *(
        {
            "cohort": NET2_COHORT,
            "arm": arm,
            "n": n,
            "mean_net2_w048": mean_w048,
            "mean_net2_w096": mean_w096,
            "active_percent_w048": active_w048,
            "active_percent_w096": active_w096,
        }
        for arm, n, mean_w048, mean_w096, active_w048, active_w096 in (
            ("placebo", 267, 4.60, 3.33, 63.7, 58.1),
            ("no_efficacy", 184, 5.51, 4.49, 64.7, 57.1),
            ("low_efficacy", 214, 4.37, 4.37, 54.7, 51.9),
            ("mild_efficacy", 418, 0.63, 1.59, 24.9, 33.7),
            ("moderate_efficacy", 153, 0.60, 1.03, 19.6, 26.1),
            ("high_efficacy", 466, 0.07, 0.07, 3.20, 1.50),
        )
    ),
    {"cohort": NET2_COHORT, "arm": "all", "n": 1702},
)

# Table 2, and the training set's shares of section 4.1, "approximately 33% for cerebral white matter and 10% for
# cerebral cortex". The paper prints no number of test patients, here or in tables 3 and 4.
REGIONAL_ACCURACY: tuple[dict[str, Any], ...] = tuple(
    {
        "cohort": NET2_COHORT,
        "region": region,
        "method": method,
        "training_prevalence": share,
        "balanced_accuracy": balanced_accuracy,
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
    for region, method, share, balanced_accuracy, precision, recall, f1 in (
        ("cerebral_white_matter", "net2", None, 0.684, 0.537, 0.629, 0.579),
        ("cerebral_white_matter", "monte_carlo", 0.33, 0.497, 0.321, 0.322, 0.320),
        ("cerebral_cortex", "net2", None, 0.697, 0.367, 0.562, 0.444),
        ("cerebral_cortex", "monte_carlo", 0.10, 0.503, 0.154, 0.135, 0.143),
    )
)

# Table 3; the baseline's probabilities are the shares of active patients of table 1 at w096.
ACTIVITY_PREDICTION: tuple[dict[str, Any], ...] = tuple(
    {"cohort": NET2_COHORT, "arm": arm, "method": method, "training_prevalence": share, "ap": ap, "auc": auc}
    for arm, active, *numbers in (
        ("placebo", 0.581, 0.783, 0.826, 0.513, 0.495),
        ("no_efficacy", 0.571, 0.735, 0.662, 0.577, 0.505),
        ("low_efficacy", 0.519, 0.623, 0.536, 0.517, 0.487),
        ("mild_efficacy", 0.337, 0.647, 0.705, 0.361, 0.507),
        ("moderate_efficacy", 0.261, 0.436, 0.607, 0.342, 0.489),
        ("high_efficacy", 0.015, 0.083, 0.868, 0.019, 0.509),
    )
    for method, share, ap, auc in (("net2", None, *numbers[:2]), ("monte_carlo", active, *numbers[2:]))
)

# Table 4, whose logarithm is not stated: see docs/forecasting.md.
LESION_COUNT: tuple[dict[str, Any], ...] = tuple(
    {"cohort": NET2_COHORT, "arm": arm, "method": method, "mse_log_count": error}
    for arm, net2, average in (
        ("placebo", 1.538, 1.775),
        ("no_efficacy", 1.158, 1.620),
        ("low_efficacy", 1.093, 1.780),
        ("mild_efficacy", 0.842, 0.991),
        ("moderate_efficacy", 0.531, 0.697),
        ("high_efficacy", 0.006, 0.010),
    )
    for method, error in (("net2", net2), ("average", average))
)

# Section 3 and its footnote: about 18 hours on four A100 of 40 GB.
COMPUTE: tuple[dict[str, Any], ...] = ({"rule": "train_generator", "jobs": 1, "wall_hours": 18.0, "gpu_hours": 72.0},)

# Figure 2: the mean scores of one radiologist on a random subset of synthetic follow-ups, whose number is not stated.
READER_STUDY: tuple[dict[str, Any], ...] = (
    {
        "cohort": LONG_MS_DIFF_COHORT,
        "generator": "long_ms_diff",
        "reader": "all",
        "kind": "synthetic",
        "readers": 1,
        "quality": 4.6,
        "plausibility": 4.2,
        "adherence": 4.0,
    },
)
