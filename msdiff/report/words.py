"""How the report writes what tables and figures call by a key."""

WORDS = {
    "all": "all arms",
    "auxiliary": "auxiliary bi-temporal UNet",
    "bit_resnet50": "ViT (ResNet-50)",
    "blurred_baseline": "blurred baseline",
    "copy_baseline": "copy of the baseline",
    "gpu_hours": "GPU hours",
    "high_efficacy": "high efficacy (ocrelizumab)",
    "lesion_ddpm": "Lesion-DDPM",
    "lesion_f1": "lesion F1",
    "lesion_f2": "lesion F2",
    "long_ms_diff": "Long-MS-Diff",
    "long_ms_diff_internal": "Long-MS-Diff, internal",
    "low_efficacy": "low efficacy (avonex)",
    "mae": "MAE",
    "max_rss_gb": "peak memory, GiB",
    "mild_efficacy": "mild efficacy (interferon beta-1a)",
    "moderate_efficacy": "moderate efficacy (dimethyl fumarate)",
    "ms_ssim": "MS-SSIM",
    "mse": "MSE",
    "n_real": "real slices",
    "n_synthetic": "synthetic slices",
    "net2_trials": "NET2 trials, training set",
    "no_efficacy": "no proven efficacy (laquinimod)",
    "noise_floor": "noise floor (two real scans)",
    "psnr": "PSNR, dB",
    "real_synthetic": "real : synthetic",
    "unet": "bi-temporal UNet",
    "wall_hours": "wall hours",
}
PREFIXES = {"mean_net2_": "mean new lesions, ", "active_percent_": "active patients, %, "}


def write(key: str) -> str:
    """A key as the report writes it; one that is not listed with spaces for underscores.

    >>> write("long_ms_diff"), write("mean_net2_w048"), write("false_positives")
    ('Long-MS-Diff', 'mean new lesions, w048', 'false positives')
    """
    for prefix, words in PREFIXES.items():
        if key.startswith(prefix):
            return words + key.removeprefix(prefix)
    return WORDS.get(key, key.replace("_", " "))
