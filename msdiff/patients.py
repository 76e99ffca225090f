"""A patient's folder between stages: `{session}_{contrast}.nii.gz` and `{session}_{mask}.nii.gz`.

Sessions sort by name, which is by time. A contrast that was not acquired has no file.
"""

from collections.abc import Sequence
from pathlib import Path

from msdiff.errors import BadInput

MASKS = ("lesion_mask", "change_mask", "enhancing_mask", "brain_mask")
SUFFIX = ".nii.gz"
# T1w has the template's contrast, tells grey from white matter best, and shows a dark rim around the brain.
PREFERRED = ("t1w", "flair")


def patient_images(folder: str | Path) -> dict[str, dict[str, Path]]:
    """The images of a patient's folder: session -> contrast -> path, sessions in order; no masks.

    Raises BadInput where the folder is missing or holds no image.
    """
    folder = Path(folder)
    images: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob(f"ses-*{SUFFIX}")):
        session, _, kind = path.name.removesuffix(SUFFIX).partition("_")
        if kind not in MASKS:
            images.setdefault(session, {})[kind] = path
    if not images:
        raise BadInput(f"{folder}: expected a patient's images, <session>_<contrast>{SUFFIX}, found none")
    return images


def image_path(folder: str | Path, session: str, kind: str) -> Path:
    """Where a session's contrast or mask stands in a patient's folder."""
    return Path(folder) / f"{session}_{kind}{SUFFIX}"


def preferred_contrast(contrasts: Sequence[str]) -> str:
    """The contrast that shows anatomy best: T1w, else FLAIR, else the first by name."""
    return next((contrast for contrast in PREFERRED if contrast in contrasts), sorted(contrasts)[0])
