import numpy as np
import pytest
from PIL import Image, ImageColor

from msdiff.images import Volume, axis_aligned_grid
from msdiff.preprocess.quality import MEASURES
from msdiff.report.colours import REGION_COLOURS, SKY, VERMILION, YELLOW
from msdiff.report.imaging.scan_pictures import GAP, MARGIN_MM, plot_scan, save_scan

GRIDS = {
    "paper": axis_aligned_grid((256, 256, 60), (1.0, 1.0, 3.0), (0.0, -18.0, 8.0)),
    "demo": axis_aligned_grid((64, 64, 24), (3.0, 3.0, 6.0), (0.0, -18.0, 8.0)),
}
RADIUS_MM = 54.0
LARGEST_KB = 150


def ball(grid, radius_mm, centre_mm=(0.0, -18.0, 8.0)):
    axes = [grid.affine[k, k] * np.arange(size) + grid.affine[k, 3] for k, size in enumerate(grid.shape)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return (x - centre_mm[0]) ** 2 + (y - centre_mm[1]) ** 2 + (z - centre_mm[2]) ** 2 <= radius_mm**2


def entry(flag=""):
    measures = dict.fromkeys(MEASURES, np.nan) | {"snr": 33.14, "brain_ml": 1234.0}
    return {"subject": "sub-1", "session": "ses-2", "contrasts": "flair t1w", **measures, "score": 1.0, "flag": flag}


def plotted(grid, flag="", masks=True, regions=True, radius_mm=RADIUS_MM):
    brain = ball(grid, radius_mm)
    head = np.random.default_rng(0).normal(500, 25, grid.shape) * ball(grid, radius_mm + 8)
    marked = {"lesion_mask": ball(grid, 8, (20, 0, 8)), "change_mask": ball(grid, 8, (-20, -30, 8))} if masks else {}
    labels = np.where(brain, np.where(ball(grid, 30), 2, 3), 0) * regions
    return plot_scan(Volume(head.astype(np.float32), grid.affine), brain, labels.astype(np.int32), marked, entry(flag))


def pixels(picture, colour):
    """How many pixels have exactly a colour, and where they begin and end: (count, rows, columns)."""
    found = (np.asarray(picture.image.convert("RGB")) == ImageColor.getrgb(colour)).all(axis=2)
    rows, columns = np.nonzero(found)
    return len(rows), rows, columns


@pytest.mark.parametrize("name", GRIDS)
def test_a_ball_is_round_in_every_plane(name):
    """Whatever the voxels' sides, in all three directions: tiles of a ball are squares, and so are its outlines."""
    picture = plotted(GRIDS[name])
    count, rows, columns = pixels(picture, YELLOW)
    assert count > 0
    side = 2 * (RADIUS_MM + MARGIN_MM)
    assert picture.image.width == pytest.approx(5 * (side + GAP), abs=5 * 7)
    # The last two tiles are the coronal and the sagittal one.
    step = picture.image.width // 5
    for tile in (3, 4):
        inside = columns // step == tile
        height, width = np.ptp(rows[inside]), np.ptp(columns[inside])
        assert height == pytest.approx(2 * RADIUS_MM, abs=7)
        assert width == pytest.approx(2 * RADIUS_MM, abs=7)


def test_lesions_and_change_are_outlined_where_they_are():
    picture = plotted(GRIDS["paper"])
    count, _, columns = pixels(picture, VERMILION)
    assert count > 0
    step = picture.image.width // 5
    # In the middle axial tile the lesion is right of the middle, as the patient's right is, and the change left of it.
    middle = 1.5 * step
    assert columns[columns // step == 1].mean() > middle + 10
    _, _, columns = pixels(picture, SKY)
    assert columns[columns // step == 1].mean() < middle - 10
    assert pixels(plotted(GRIDS["paper"], masks=False), VERMILION)[0] == 0


def test_regions_are_coloured():
    plain, coloured = (np.asarray(plotted(GRIDS["demo"], regions=on).image).astype(int) for on in (False, True))

    # Grey means that all three channels agree.
    def share(image):
        return (np.ptp(image[image.shape[0] // 2 : -60], axis=2) > 20).mean()

    assert share(coloured) > 0.3
    assert share(plain) == 0
    assert len(REGION_COLOURS) == 3


def test_flag_is_red_and_told(tmp_path):
    def reddish(picture):
        image = np.asarray(picture.image).astype(int)[:40]
        return ((image[..., 0] > 150) & (image[..., 1] < 120) & (image[..., 2] < 120)).sum()

    good, bad = plotted(GRIDS["demo"]), plotted(GRIDS["demo"], "SNR 5 (at least 10)")
    assert reddish(good) == 0
    assert reddish(bad) > 50
    assert bad.image.height > good.image.height


@pytest.mark.parametrize("name", GRIDS)
def test_file_is_small_and_carries_its_title(name, tmp_path):
    # As wide as a large brain is on average.
    picture = plotted(GRIDS[name], "a reason " * 30, radius_mm=78.0)
    save_scan(picture, tmp_path / "ses-2.png")
    assert (tmp_path / "ses-2.png").stat().st_size < LARGEST_KB * 1024
    with Image.open(tmp_path / "ses-2.png") as image:
        assert image.info["Title"] == "sub-1, ses-2"
        assert "brain mask yellow" in image.info["Description"]
        stored = np.asarray(image.convert("RGB"))
    # A palette of fewer colours would lose the thin lines.
    assert (stored == ImageColor.getrgb(VERMILION)).all(axis=2).sum() >= pixels(picture, VERMILION)[0] > 0


def test_an_empty_brain_is_plotted_too():
    grid = GRIDS["demo"]
    head = Volume(np.random.default_rng(0).random(grid.shape).astype(np.float32), grid.affine)
    nothing = np.zeros(grid.shape, dtype=bool)
    picture = plot_scan(head, nothing, nothing.astype(np.int32), {}, entry())
    assert picture.image.width > 5 * 64
