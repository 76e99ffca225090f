"""How the report writes what tables and figures call by a key."""

WORDS = {
    "active_difference_to_placebo": "active forecasts, difference to placebo",
    "active_fraction": "share of active forecasts",
    "activity": "a patient has a new lesion",
    "adherence_dice": "adherence (Dice)",
    "ap": "average precision",
    "auc": "AUC",
    "auxiliary": "auxiliary bi-temporal UNet",
    "average": "average count of the arm",
    "baseline_brier": "Brier score of the arm's share",
    "baseline_flagged_share": "share with a baseline beyond the limit",
    "baseline_similarity_median": "similarity to own baseline, median",
    "bin": "forecast probability",
    "bit_resnet50": "ViT (ResNet-50)",
    "blurred_baseline": "blurred baseline",
    "brier": "Brier score",
    "cerebral_cortex": "cerebral cortex",
    "cerebral_white_matter": "cerebral white matter",
    "change_mae": "change to baseline (MAE)",
    "change_outside": "change outside the mask",
    "copy_baseline": "copy of the baseline",
    "count_difference_to_placebo": "count, difference to placebo",
    "ddim": "DDIM",
    "dpm_solver_2m": "DPM-Solver++ (2M)",
    "ema_ratio": "the ratio of running means",
    "embedding": "learned embedding",
    "eps": "the noise",
    "f1": "F1",
    "favero_589m": "589 M of Favero et al.",
    "fewer_lesions_share": "share with fewer lesions than under placebo",
    "flair": "FLAIR",
    "follow_up_similarity_median": "similarity to own real follow-up, median",
    "false_positives_per_patient": "false positives per patient",
    "flagged_share": "share flagged",
    "gpu_hours": "GPU hours",
    "gradient_norm": "the ratio of gradients",
    "high_efficacy": "high efficacy (ocrelizumab)",
    "interpolated_cosine": "interpolated cosine",
    "kendall": "learned uncertainty (Kendall)",
    "lesion_contrast_ratio": "lesion contrast ratio",
    "lesion_ddpm": "Lesion-DDPM",
    "lesion_f1": "lesion F1",
    "lesion_f2": "lesion F2",
    "lesion_prior": "prior of new lesions (stage 1)",
    "long_ms_diff": "Long-MS-Diff",
    "long_ms_diff_internal": "Long-MS-Diff, internal",
    "low_efficacy": "low efficacy (avonex)",
    "mae": "MAE",
    "mae_brain": "MAE, brain",
    "mae_lesion": "MAE, lesion",
    "max_rss_gb": "peak memory, GiB",
    "mild_efficacy": "mild efficacy (interferon beta-1a)",
    "min_snr": "min-SNR",
    "moderate_efficacy": "moderate efficacy (dimethyl fumarate)",
    "ms_ssim": "MS-SSIM",
    "monte_carlo": "sampled by share (Monte Carlo)",
    "mse": "MSE",
    "mse_log_count": "squared error of log(1 + count)",
    "msseg2_f1": "F1 (MSSEG-2)",
    "msseg2_precision": "precision (MSSEG-2)",
    "msseg2_recall": "recall (MSSEG-2)",
    "msseg2_empty_mm3": "their volume, mm3",
    "msseg2_empty_predictions": "predictions without a true lesion (MSSEG-2)",
    "n_lesions": "lesions",
    "n_reference": "held-out patients",
    "n_reference_slices": "held-out slices",
    "n_positive": "with a new lesion",
    "n_positive_voxels": "voxels in a new lesion",
    "n_real": "real slices",
    "n_synthetic": "synthetic slices",
    "n_training": "training slices",
    "n_voxels": "voxels",
    "nearest_similarity_median": "nearest similarity, median",
    "nearest_similarity_p99": "nearest similarity, 99th percentile",
    "net2": "forecast",
    "net2_trials": "NET2 trials",
    "no_efficacy": "no proven efficacy (laquinimod)",
    "noise_floor": "noise floor (two real scans)",
    "p_holm": "p (Holm)",
    "paste_lesion": "mask painted on the baseline",
    "pixel_correlation": "pixel correlation",
    "pre_treatment": "forecaster (one session, before treatment)",
    "psnr": "PSNR, dB",
    "real_similarity_median": "own baseline to own real follow-up, median",
    "real_follow_up": "real follow-up",
    "real_synthetic": "real : synthetic",
    "reference_p99": "limit (99th percentile)",
    "size": "size, mm3",
    "slabs": "slabs of the forecasts",
    "stack": "preprocessed scans",
    "training_prevalence": "share in training",
    "two_sessions": "forecaster (two sessions)",
    "unet": "bi-temporal UNet",
    "v": "the velocity",
    "voxel": "a voxel lies in a new lesion",
    "wall_hours": "wall hours",
    "without_adaptive_weight": "without the adaptive weight",
    "without_auxiliary_loss": "without the auxiliary loss",
    "without_change_mask": "without the change mask",
    "without_dropout": "without dropout of the baseline",
    "x": "the image",
}
PREFIXES = {"mean_net2_": "mean new lesions, ", "active_percent_": "active patients, %, "}
SUFFIXES = {"_difference": ", difference", "_agreement": ", agreement"}
# What a column says by a key that means something else elsewhere.
IN_COLUMNS = {("reader", "all"): "all readers", ("arm", "all"): "all arms", ("bin", "all"): "all"}


def write(key: str, column: str = "") -> str:
    """A key, or what stands in a column, as the report writes it; one that is not listed with spaces for underscores.

    >>> write("long_ms_diff"), write("mean_net2_w048"), write("mae_difference"), write("all", "reader")
    ('Long-MS-Diff', 'mean new lesions, w048', 'MAE, difference', 'all readers')
    """
    if (column, key) in IN_COLUMNS:
        return IN_COLUMNS[column, key]
    for prefix, words in PREFIXES.items():
        if key.startswith(prefix):
            return words + key.removeprefix(prefix)
    for suffix, words in SUFFIXES.items():
        if key.endswith(suffix):
            return write(key.removesuffix(suffix)) + words
    return WORDS.get(key, key.replace("_", " "))
