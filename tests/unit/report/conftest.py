import json

import numpy as np
import pandas as pd
import pytest
from indexed import open_stack, write_lists

from msdiff.report.run import Run
from msdiff.sampling.shards import save_shard
from msdiff.tables import published
from msdiff.tables.augmentation import COLUMNS as AUGMENTATION
from msdiff.tables.augmentation import paper_row
from msdiff.tables.cohort import columns as cohort_columns
from msdiff.tables.compute import COLUMNS as COMPUTE
from msdiff.tables.image_quality import COLUMNS as IMAGE_QUALITY
from msdiff.tables.layout import assemble, write_table

SHAPE = (64, 64, 24)
SESSIONS = ("ses-w000", "ses-w048")


def head(number, lesions):
    """An egg of a brain with cortex, ventricles and bright lesions, (z, y, x) in [-1, 1]; and its brain mask."""
    z, y, x = np.indices(SHAPE[::-1])
    squared = ((z - 12) / 11) ** 2 + ((y - 32) / (26 + number % 3)) ** 2 + ((x - 31.5) / 21) ** 2
    brain = squared < 1
    image = np.where(squared < 0.7, 0.1, 0.35)
    ventricles = ((z - 12) / 5) ** 2 + ((y - 36) / 9) ** 2 + ((np.abs(x - 31.5) - 5) / 3) ** 2 < 1
    image[ventricles] = -0.8
    # The front is brighter: an image upside down would be seen.
    image = image + 0.006 * (y - 32)
    image[lesions] = 0.85
    rng = np.random.default_rng([number, int(lesions.sum())])
    image = np.clip(image + rng.normal(0, 0.04, image.shape), -1, 1)
    image[~brain] = -1
    return image.astype(np.float16), brain


def spot(z, y, x, radius=2):
    at = np.indices(SHAPE[::-1])
    return (at[0] - z) ** 2 * 4 + (at[1] - y) ** 2 + (at[2] - x) ** 2 <= radius**2


@pytest.fixture(scope="session")
def stack_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    scans, slices, flair, brains, changes = [], [], [], [], []
    for number in range(4):
        subject, split = f"sub-{number + 1:04d}", ("train", "train", "validation", "test")[number]
        old = spot(12, 42, 21)
        new = spot(12, 20 + 3 * number, 40, 3) if number != 2 else np.zeros_like(old)
        for session, lesions in zip(SESSIONS, (old, old | new), strict=True):
            image, brain = head(number, lesions)
            flair.append(image)
            brains.append(brain)
            changes.append(new if session == "ses-w048" else np.zeros_like(new))
            scans.append((len(scans), subject, session, 336 * (session != "ses-w000"), "placebo", split))
        for index in range(SHAPE[2]):
            row = len(scans) - 2
            count, voxels = int(new.any()), int(new[index].sum())
            slices.append((number, subject, "placebo", split, *SESSIONS, 336, row, row + 1, index, count, voxels))
    arrays = {"flair": np.stack(flair), "brain_mask": np.stack(brains), "change_mask": np.stack(changes)}
    regions = np.where(arrays["flair"] > 0.25, 3, 2) * arrays["brain_mask"]
    regions[arrays["flair"] < -0.5] = 24
    for name, array in {**arrays, "regions": regions * arrays["brain_mask"]}.items():
        np.save(folder / f"{name}.npy", array if name == "flair" else array.astype(np.uint8))
    names = ["row", "subject", "session", "days", "arm", "split"]
    of_slices = ["pair", "subject", "arm", "split", "baseline_session", "follow_up_session", "interval_days"]
    of_slices += ["baseline_row", "follow_up_row", "slice", "scan_change_count", "change_voxels"]
    write_lists(folder, pd.DataFrame(scans, columns=names), pd.DataFrame(slices, columns=of_slices))
    affine = np.diag([3.0, 3.0, 6.0, 1.0])
    (folder / "grid.json").write_text(json.dumps({"shape": SHAPE, "affine": affine.tolist()}))
    return folder


@pytest.fixture(scope="session")
def stack(stack_folder):
    return open_stack(stack_folder)


@pytest.fixture(scope="session")
def shards(stack, tmp_path_factory):
    """Two shards: the real follow-up with other noise, for patients 1, 2 and 4, and one sample without a truth."""
    rng = np.random.default_rng(5)
    shards = []
    for samples in ((0, 1), (3, 3)):
        images, masks, rows = [], [], []
        for place, number in enumerate(samples):
            follow_up = stack.array("flair")[2 * number + 1, 12].astype(np.float32)
            images.append(np.clip(follow_up + rng.normal(0, 0.05, follow_up.shape) * (follow_up > -1), -1, 1))
            masks.append(stack.array("change_mask")[2 * number + 1, 12] > 0)
            truth = -1 if samples == (3, 3) and place == 1 else 2 * number + 1
            sample = 10 * number + place
            rows.append((sample, f"sub-{number + 1:04d}", 2 * number, 12, truth, "long_ms_diff"))
        names = ["sample", "baseline_subject", "baseline_row", "slice", "follow_up_row", "generator"]
        manifest, folder = pd.DataFrame(rows, columns=names), tmp_path_factory.mktemp("shards") / "000"
        shards.append(save_shard(folder, manifest, follow_up=np.stack(images), change_mask=np.stack(masks)))
    return shards


@pytest.fixture(scope="session")
def histories():
    steps = np.arange(10, 210, 10)
    rng = np.random.default_rng(2)
    names = ["auxiliary", "long_ms_diff"]
    names += [
        f"{net}/{mix}/seed-{seed}" for net in ("unet", "bit_resnet50") for mix in ("1-0", "1-2") for seed in (0, 1)
    ]
    return {
        name: pd.DataFrame({"step": steps, "loss": np.exp(-steps / 60) + 0.1 + rng.uniform(0, 0.03, len(steps))})
        for name in names
    }


def with_limits(row, metrics):
    limits = {f"{name}_lo": 0.8 * value for name, value in metrics.items()}
    return {**row, **metrics, **limits, **{f"{name}_hi": 1.2 * value for name, value in metrics.items()}}


@pytest.fixture(scope="session")
def tables():
    """Tables as a demo run writes them: four test patients."""
    detectors = [
        with_limits(
            {
                "cohort": "phantom", "generator": "long_ms_diff", "architecture": architecture, "n": 4, "seeds": 1,
                "real_synthetic": f"1:{share}", "n_real": 60, "n_synthetic": 60 * share,
            },
            {
                "dice": 0.3 + 0.08 * share, "precision": 0.41, "recall": 0.52, "correct": 5 + share,
                "false_positives": 6, "false_negatives": 5 - share, "lesion_precision": 0.45, "lesion_recall": 0.5,
                "lesion_f1": 0.4 + 0.05 * share - 0.1 * (architecture == "unet"), "lesion_f2": 0.5,
                "false_positives_per_patient": 1.5, "expected_cost": 1.21,
            },
        )
        for architecture in ("bit_resnet50", "unet")
        for share in (0, 1, 2)
    ]  # fmt: skip
    qualities = [
        with_limits(
            {"cohort": "phantom", "generator": generator, "region": region, "n": 4},
            {
                "mse": 0.001, "mae": mae * factor, "psnr": 28.0, "ms_ssim": 0.93,
                **({"lesion_contrast_ratio": 1.1 * (1 - mae), "adherence_dice": 0.6} if region == "lesion" else {}),
            },
        )
        for generator, mae in (
            ("blurred_baseline", 0.06), ("copy_baseline", 0.05), ("long_ms_diff", 0.04)
        )
        for region, factor in (("brain", 1), ("lesion", 3), ("ring", 1.5), ("outside", 0.9))
    ]  # fmt: skip
    qualities += [
        with_limits({"cohort": "phantom", "generator": "noise_floor", "region": "outside", "n": 4}, {"mae": 0.03}),
        with_limits(
            {"cohort": "phantom", "generator": "real_follow_up", "region": "lesion", "n": 4},
            {"lesion_contrast_ratio": 1, "adherence_dice": 0.8},
        ),
    ]
    arms = [
        with_limits({"cohort": "phantom", "arm": arm, "n": n}, {"mean_net2_w048": 2.5, "active_percent_w048": 50})
        for arm, n in (("placebo", 10), ("high_efficacy", 8), ("all", 18))
    ]
    rules = [
        {"rule": rule, "jobs": jobs, "wall_hours": hours, "gpu_hours": 0, "max_rss_gb": 1.2}
        for rule, jobs, hours in (("register", 18, 0.02), ("train_generator", 1, 0.05))
    ]
    return {
        "augmentation": assemble(detectors, [paper_row(row) for row in published.AUGMENTATION], AUGMENTATION),
        "image_quality": assemble(qualities, [], IMAGE_QUALITY),
        "cohort": assemble(arms, published.COHORT, cohort_columns(["w048", "w096"])),
        "compute": assemble(rules, published.COMPUTE, COMPUTE),
    }


@pytest.fixture(scope="session")
def tables_folder(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    for name, table in tables.items():
        write_table(table, folder / f"{name}.csv")
    return folder


RUN_CONFIG = {
    "study": "phantom",
    "cohort": {"phantom": {"sheet": None}},
    "synthesis": {"generators": ["long_ms_diff"], "plan": {"mass": {"count": 240}}},
    "tables": {"confidence_level": 0.95},
    "privacy": {"nearest": {"percentile": 99.0}},
}
DETECTOR = {"cohort": "phantom", "generator": "long_ms_diff", "architecture": "unet"}


def ours(rows):
    return pd.DataFrame([{"source": "msdiff", **row} for row in rows])


def with_interval(name, value, low, high):
    return {name: value, f"{name}_lo": low, f"{name}_hi": high}


@pytest.fixture
def run_of():
    """A run of some tables, on the embedded cohort or, with a sheet, on another."""

    def build(tables, sheet=None, splits=None):
        config = {**RUN_CONFIG, "cohort": {"phantom": {"sheet": sheet}}}
        return Run(tables, config, splits or {})

    return build


@pytest.fixture(scope="session")
def ablation():
    """Without the mask much changes, without dropout nothing does."""

    def variant(name, adherence, error):
        return {"cohort": "phantom", "variant": name, "n": 4, "seeds": 1, **adherence, **error}

    return ours(
        [
            variant("complete", {"adherence_dice": 0.7}, {"mae_lesion": 0.05}),
            variant(
                "without_change_mask",
                with_interval("adherence_dice_difference", -0.6, -0.7, -0.5),
                with_interval("mae_lesion_difference", 0.1, 0.05, 0.2),
            ),
            variant(
                "without_dropout",
                with_interval("adherence_dice_difference", 0.01, -0.1, 0.1),
                with_interval("mae_lesion_difference", -0.01, -0.02, 0.01),
            ),
        ]
    )


@pytest.fixture(scope="session")
def tests_table():
    return ours(
        [
            {**DETECTOR, "real_synthetic": ratio, "metric": "lesion_f1", "n": 30, "p": p / 2, "p_holm": p}
            | with_interval("difference", difference, difference - 0.05, difference + 0.05)
            for ratio, difference, p in (("1:1", 0.1, 0.012), ("1:2", -0.02, 0.6), ("1:3", -0.2, 0.003))
        ]
    )


@pytest.fixture(scope="session")
def sizes():
    return ours(
        [
            {**DETECTOR, "real_synthetic": "1:0", "size": size, "n": 4, "n_lesions": n, "seeds": 1}
            | with_interval("lesion_recall", recall, recall / 2, min(1, recall * 1.5))
            for size, n, recall in (("<14", 1, 0.0), ("14-65", 6, 0.5), (">=65", 5, 0.8))
        ]
    )


@pytest.fixture(scope="session")
def privacy():
    shared = {"cohort": "phantom", "generator": "long_ms_diff", "n": 12, "n_synthetic": 240, "n_training": 120}
    shared |= {"n_reference": 6, "n_reference_slices": 90}
    values = {
        "nearest_similarity_median": 0.81,
        "nearest_similarity_p99": 0.9,
        "reference_p99": 0.92,
        "leaked_patients": 0,
    }
    return ours(
        [
            {**shared, **values, "measure": measure, "flagged": flagged, "flagged_share": flagged / 240}
            | {"baseline_similarity_median": similarity, "real_similarity_median": 0.96, "leaked_patients": 0}
            for measure, flagged, similarity in (("pixel_correlation", 0, 0.99), ("embedding", 1, 0.97))
        ]
    )


@pytest.fixture(scope="session")
def reader_study():
    def row(kind, values, readers=2, generator="long_ms_diff"):
        agreements = {f"{name}_agreement": 0.6 if kind == "all" else 0.1 for name in names}
        intervals = {}
        for name, (value, low, high) in values.items():
            intervals |= with_interval(name, value, low, high)
        return {
            "cohort": "phantom",
            "reader": "all",
            "kind": kind,
            "generator": generator,
            "n": 10,
            "readers": readers,
            **intervals,
            **agreements,
        }

    names = ("quality", "plausibility", "adherence")
    difference = {"quality": (-0.2, -0.4, -0.1), "plausibility": (0.05, -0.3, 0.4), "adherence": (0.3, 0.1, 0.5)}
    return ours(
        [
            row("synthetic", dict.fromkeys(names, (4.1, 3.9, 4.4))),
            row("real", dict.fromkeys(names, (4.3, 4.0, 4.5))),
            row("difference", difference),
            row("all", dict.fromkeys(names, (np.nan, np.nan, np.nan)), generator=""),
        ]
    )
