"""A stack of a few small brains, each with a new lesion, as the commands read it."""

import json

import numpy as np
from indexed import open_stack, write_lists

SHAPE = (16, 16, 3)
SPLITS = ["train"] * 4 + ["validation", "test", "test"]


def simulate_stack(folder, *, splits=SPLITS, changes=True, lesions=True):
    """Brains of white matter in a rim of cortex; a bright square appears in two of three slices of every patient."""
    folder.mkdir(parents=True)
    x, y, z = SHAPE
    rng = np.random.default_rng(0)
    arrays = {
        "flair": np.full((2 * len(splits), z, y, x), -1.0, dtype=np.float16),
        **{
            name: np.zeros((2 * len(splits), z, y, x), dtype=np.uint8)
            for name in ("brain_mask", "change_mask", "lesion_mask", "regions")
        },
    }
    scans, slices = [], []
    for pair, split in enumerate(splits):
        subject, rows = f"sub-{pair + 1:04d}", (2 * pair, 2 * pair + 1)
        for row, session, days in zip(rows, ("ses-w000", "ses-w048"), (0, 336), strict=True):
            arrays["brain_mask"][row, :, 1:15, 1:15] = 1
            arrays["regions"][row, :, 1:15, 1:15] = 3
            arrays["regions"][row, :, 4:12, 4:12] = 2
            arrays["flair"][row, :, 1:15, 1:15] = rng.normal(0, 0.1, (z, 14, 14))
            arrays["lesion_mask"][row, :, 5:7, 5:7] = 1
            scans.append({"row": row, "subject": subject, "session": session, "days": days, "arm": "", "split": split})
        if changes:
            corner = int(rng.integers(6, 10))
            arrays["change_mask"][rows[1], :2, corner : corner + 3, 8:11] = 1
            arrays["flair"][rows[1]][arrays["change_mask"][rows[1]] > 0] = 0.8
        change = arrays["change_mask"][rows[1]]
        for number in range(z):
            voxels = int(change[number].sum())
            slices.append(
                {
                    "pair": pair,
                    "subject": subject,
                    "arm": "",
                    "split": split,
                    "baseline_session": "ses-w000",
                    "follow_up_session": "ses-w048",
                    "interval_days": 336,
                    "baseline_row": rows[0],
                    "follow_up_row": rows[1],
                    "slice": number,
                    "brain_voxels": 196,
                    "change_voxels": voxels,
                    "slice_change_mm3": voxels * 54.0,
                    "slice_change_count": int(voxels > 0),
                    "scan_change_mm3": float(change.sum()) * 54.0,
                    "scan_change_count": int(change.any()) + pair % 2 * int(change.any()),
                }
            )
    if not lesions:
        del arrays["lesion_mask"]
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    write_lists(folder, scans, slices)
    affine = np.diag([3.0, 3.0, 6.0, 1.0]).tolist()
    (folder / "grid.json").write_text(json.dumps({"shape": list(SHAPE), "affine": affine}))
    return open_stack(folder)
