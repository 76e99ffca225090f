"""The papers' numbers, as printed, for the rows marked `paper`.

Long-MS-Diff     Mathur et al., MIDL 2025 short paper: table 1 and the text of section 3
NET2             Favero et al., arXiv 2508.07006 (2025): table 1

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
