"""The index of slices: what every pair of scans holds, slice by slice, and what is new in a follow-up.

Columns: pair, subject, arm, baseline_session, follow_up_session, interval_days, baseline_row, follow_up_row, slice,
brain_voxels, change_voxels, slice_change_mm3, slice_change_count, scan_change_mm3, scan_change_count (components of the
change mask, 26-connected in scans and 8-connected in slices). One row per pair and slice with brain in it.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from msdiff.errors import BadInput
from msdiff.images import Grid
from msdiff.stack.reading import Stack

PAIR_COLUMNS = ("subject", "arm", "baseline_session", "follow_up_session", "interval_days")
IN_SCANS = np.ones((3, 3, 3))
IN_SLICES = np.ones((3, 3))


def slice_index(stack: Stack, pairs: pd.DataFrame) -> pd.DataFrame:
    """The slices of all pairs, with the pair's columns and the rows of both scans.

    Raises BadInput where there is no pair, where a pair's scan is not in the stack, or where no pair has any change.
    """
    brains, changes = stack.array("brain_mask"), stack.array("change_mask")
    row_of = {(scan.subject, scan.session): scan.row for scan in stack.scans.itertuples()}
    tables = []
    for number, pair in enumerate(pairs.itertuples()):
        try:
            baseline_row = row_of[pair.subject, pair.baseline_session]
            follow_up_row = row_of[pair.subject, pair.follow_up_session]
        except KeyError as error:
            raise BadInput(f"pairs: {error.args[0]} is not among the scans; make both lists anew") from error
        of_pair = {
            "pair": number,
            "subject": pair.subject,
            "arm": pair.arm,
            "baseline_session": pair.baseline_session,
            "follow_up_session": pair.follow_up_session,
            "interval_days": pair.interval_days,
            "baseline_row": baseline_row,
            "follow_up_row": follow_up_row,
        }
        change, brain = (np.asarray(masks[follow_up_row], dtype=np.bool_).T for masks in (changes, brains))
        of_slices = slice_rows(change, brain, stack.grid)
        tables.append(pd.DataFrame([of_pair] * len(of_slices)).join(of_slices))
    if not tables:
        raise BadInput("pairs: expected at least one pair, got an empty list; check the sheet")
    index = pd.concat(tables, ignore_index=True)
    if index["change_voxels"].sum() == 0:
        raise BadInput(
            f"change masks: expected some change in the patients, got none in {len(pairs)} pairs; there is nothing to "
            "learn from: check the masks and their spaces"
        )
    return index


def slice_rows(change: NDArray[np.bool_], brain: NDArray[np.bool_], grid: Grid) -> pd.DataFrame:
    """One row per slice with brain in it: what a change mask (X, Y, Z) holds there, and in the whole scan."""
    # A determinant of 2.9999999999999996 mm3 is 3 mm3.
    voxel_mm3 = round(grid.voxel_volume_mm3, 6)
    in_scan = {
        "scan_change_mm3": float(change.sum()) * voxel_mm3,
        "scan_change_count": int(ndimage.label(change, IN_SCANS)[1]),
    }
    rows = []
    for number in np.flatnonzero(brain.any(axis=(0, 1))):
        plane = change[:, :, number]
        voxels = int(plane.sum())
        rows.append(
            {
                "slice": int(number),
                "brain_voxels": int(brain[:, :, number].sum()),
                "change_voxels": voxels,
                "slice_change_mm3": voxels * voxel_mm3,
                "slice_change_count": int(ndimage.label(plane, IN_SLICES)[1]),
                **in_scan,
            }
        )
    return pd.DataFrame(rows)


def new_lesions(
    baseline: NDArray[np.bool_], follow_up: NDArray[np.bool_], grid: Grid, min_volume_mm3: float
) -> NDArray[np.bool_]:
    """Lesion voxels (X, Y, Z) that the baseline had not, in 26-connected parts of at least a volume in mm3.

    That is new lesions and what grew around old ones; what shrank or vanished is not in it.
    """
    labels, count = ndimage.label(follow_up & ~baseline, IN_SCANS)
    large = np.bincount(labels.ravel(), minlength=count + 1) * round(grid.voxel_volume_mm3, 6) >= min_volume_mm3
    large[0] = False
    return np.asarray(large[labels])
