import pytest

from msdiff.cohort.sources.isbi2015 import index_isbi2015
from msdiff.errors import BadInput

CONTRASTS = ["flair", "t1w", "t2w", "pdw"]
NAMES = ["flair", "mprage", "t2", "pd"]


@pytest.fixture
def published(tmp_path, touch):
    """Two training patients of two time points, of which the last lacks its FLAIR, and a test patient."""
    root = tmp_path / "isbi"
    for patient in ("training01", "training02"):
        for point in ("01", "02"):
            names = NAMES if (patient, point) != ("training02", "02") else NAMES[1:]
            stem = f"{patient}_{point}"
            touch(root / "training" / patient, *[f"preprocessed/{stem}_{name}_pp.nii" for name in names])
            touch(root / "training" / patient, *[f"orig/{stem}_{name}.nii.gz" for name in names])
            touch(root / "training" / patient, f"masks/{stem}_mask1.nii", f"masks/{stem}_mask2.nii")
    touch(root / "testdata_website" / "test01", *[f"preprocessed/test01_01_{name}_pp.nii" for name in NAMES])
    return root


def test_training_patients_are_listed_with_the_first_raters_masks(published, sheet, caplog):
    with caplog.at_level("INFO"):
        scans = sheet("isbi2015", published, CONTRASTS, interval_days=365)
    assert "leave out training02_02: no FLAIR" in caplog.text
    assert scans["subject"].tolist() == ["sub-training01", "sub-training01", "sub-training02"]
    assert scans["session"].tolist() == ["ses-01", "ses-02", "ses-01"]
    assert scans["days"].tolist() == [0, 365, 0]
    folder = "training/training01/preprocessed"
    assert scans[CONTRASTS].iloc[0].tolist() == [f"{folder}/training01_01_{name}_pp.nii" for name in NAMES]
    assert scans["lesion_mask"][1] == "training/training01/masks/training01_02_mask1.nii"


def test_the_second_rater_may_be_chosen(published, sheet):
    scans = sheet("isbi2015", published, CONTRASTS, interval_days=365, rater=2)
    assert scans["lesion_mask"][0] == "training/training01/masks/training01_01_mask2.nii"


def test_original_images_have_no_masks_on_their_grid(published, sheet):
    scans = sheet("isbi2015", published, CONTRASTS, interval_days=365, variant="orig")
    assert scans["t1w"][0] == "training/training01/orig/training01_01_mprage.nii.gz"
    assert (scans["lesion_mask"] == "").all()


def test_test_patients_have_no_masks(published, sheet):
    scans = sheet("isbi2015", published / "testdata_website", CONTRASTS)
    assert scans["flair"].tolist() == ["test01/preprocessed/test01_01_flair_pp.nii"]
    assert scans["lesion_mask"].tolist() == [""]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "training01: nothing tells the days"),
        ({"interval_days": 365, "rater": 3}, "--rater: expected 1 or 2, got 3"),
        ({"interval_days": 365, "variant": "raw"}, "--variant: expected one of preprocessed, orig, got 'raw'"),
    ],
)
def test_options_that_do_not_fit_are_refused(published, options, named):
    with pytest.raises(BadInput, match=named):
        index_isbi2015(published, **options)


def test_folder_without_patients_is_refused(tmp_path, touch):
    with pytest.raises(BadInput, match="training01"):
        index_isbi2015(tmp_path, 365)
    touch(tmp_path / "training" / "training01", "masks/training01_01_mask1.nii")
    with pytest.raises(BadInput, match="expected preprocessed FLAIR images, got none"):
        index_isbi2015(tmp_path, 365)
