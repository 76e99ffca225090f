"""The cross-sectional part of open_ms_data: 30 patients, one session each (Lesjak et al., Neuroinformatics 2017).

The repository holds four trees of one patient folder each; the data set's own description has
`patient01/patient01_FLAIR.nii.gz` (coregistered) and `patient01/raw/patient01_FLAIR.nii.gz`, the consensus beside
the former, in the space of the FLAIR.
"""

import logging
from pathlib import Path

import pandas as pd

from msdiff.cohort.sources.folders import find_folders, find_image
from msdiff.errors import BadInput

CONTRASTS = {"flair": "FLAIR", "t1w": "T1W", "t2w": "T2W", "t1ce": "T1WKS"}
MNI_CONTRASTS = {"flair": "FLAIR", "t1w": "T1", "t2w": "T2", "t1ce": "T1POST"}
MNI_IMAGE = "{}_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI"
MNI_LESIONS = "GOLD_STANDARD_N4_noneck_reduced_winsor_regtoFLAIR_regtoMNI"
VARIANTS = ("raw", "coregistered", "coregistered_resampled", "MNI")

log = logging.getLogger(__name__)


def index_open_ms_cross_sectional(root: Path, variant: str = "raw") -> pd.DataFrame:
    """Scans of one tree: raw, coregistered (to the FLAIR), coregistered_resampled, or MNI (1 mm, skull-stripped).

    `root` may be the data set, its folder `cross_sectional`, or the folder of the patients. A patient without FLAIR is
    left out. Raises BadInput where the variant is unknown, or no patient is found.
    """
    if variant not in VARIANTS:
        raise BadInput(f"--variant: expected one of {', '.join(VARIANTS)}, got {variant!r}")
    places = [root / "cross_sectional" / variant, root / variant, root]
    folders = find_folders(places, "patient[0-9]*", f"folders patient01, patient02, ... of {variant} scans")
    found = folders[0].parent.name
    if found in VARIANTS and found != variant:
        raise BadInput(f"{folders[0].parent}: expected {variant} scans; take --variant {found}")
    rows = []
    for folder in folders:
        scan = _mni_scan(folder) if variant == "MNI" else _scan(folder, variant)
        if not scan["flair"]:
            log.info("leave out %s: no FLAIR", folder.name)
            continue
        number = folder.name.removeprefix("patient")
        row = {"subject": f"sub-{number}", "session": "ses-1", "days": 0, **scan}
        rows.append(row | {"arm": "", "split": ""})
    if not rows:
        raise BadInput(f"{root}: expected patients with a FLAIR image, got none; fetch the images first")
    return pd.DataFrame(rows)


def _scan(folder: Path, variant: str) -> dict[str, str]:
    """Paths of a patient's raw or coregistered scans, empty where there is none."""
    prefix = f"raw/{folder.name}_" if variant == "raw" else f"{folder.name}_"
    scan = {contrast: find_image(folder, name, prefix + name) for contrast, name in CONTRASTS.items()}
    scan["lesion_mask"] = find_image(folder, "consensus_gt", f"{folder.name}_consensus_gt")
    if variant != "raw":
        scan["brain_mask"] = find_image(folder, "brainmask", f"{folder.name}_brainmask")
    return scan


def _mni_scan(folder: Path) -> dict[str, str]:
    """Paths of a patient's scans in MNI space, empty where there is none."""
    scan = {contrast: find_image(folder, MNI_IMAGE.format(name)) for contrast, name in MNI_CONTRASTS.items()}
    return scan | {"lesion_mask": find_image(folder, MNI_LESIONS)}
