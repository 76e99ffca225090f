"""How bright lesions are in a stack."""

import numpy as np

from msdiff.errors import BadInput
from msdiff.stack.reading import Stack


def lesion_intensity(stack: Stack, contrast: str) -> float:
    """Mean intensity, in [-1, 1], of the training patients' new lesions: over each one's voxels, then over patients.

    Raises BadInput where no training patient has a new lesion.
    """
    slices = stack.slices[(stack.slices["split"] == "train") & (stack.slices["change_voxels"] > 0)]
    if slices.empty:
        raise BadInput(
            f"{stack.folder}: expected a change mask with something in it in some training patient, all are empty; "
            "give lesion or change masks in the scan sheet"
        )
    images, masks = stack.array(contrast), stack.array("change_mask")
    of_patients = []
    for _, changed in slices.groupby("subject"):
        places = zip(changed["follow_up_row"], changed["slice"], strict=True)
        voxels = [images[row, number][masks[row, number] > 0] for row, number in places]
        of_patients.append(np.concatenate(voxels).astype(np.float64).mean())
    return float(np.mean(of_patients))
