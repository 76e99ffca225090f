"""One picture per scan for quality control: head, brain outline, lesions, change, regions, and the scan's measures.

Plotted pixel by pixel at a fixed number of pixels per mm, so that voxels of any shape keep their proportions, a scan
takes a fraction of a second, and a file stays small. Slices are shown as in the other figures: right is right.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont, PngImagePlugin
from scipy import ndimage

from msdiff.images import Volume
from msdiff.preprocess.quality import MEASURES, in_words
from msdiff.report.colours import DEEP_GREY, REGION_COLOURS, SKY, VERMILION, YELLOW
from msdiff.writing import whole_file

PIXELS_PER_MM = 1.0
# Around the brain, so that skull and skin are seen.
MARGIN_MM = 14.0
# Heights in the brain at which axial slices are shown, beside the one with the most lesion or change.
HEIGHTS = (0.3, 0.5, 0.7)
GAP = 4
FONT_SIZE = 13
LINE = 17
# Grey levels of the picture: more only store noise.
LEVELS = 40
REGION_OPACITY = 0.45
MASK_COLOURS = {"lesion_mask": VERMILION, "change_mask": SKY}
BRAIN_COLOUR = YELLOW
TEXT, WARNING = "#ffffff", "#ff5050"
LEGEND = (
    "Above: registered scan, brain mask yellow, lesions red, change since the session before light blue. Below: "
    "regions (white matter light blue, cortex orange, fluid blue, others green). The patient's right is on the right."
)

Pixels = NDArray[np.uint8]
Array = NDArray[Any]


class Plane(NamedTuple):
    """A slice of a volume: the axis it lies across, and its number."""

    axis: int
    number: int


class ScanPicture(NamedTuple):
    """A plotted scan, with what a reader must know to read it."""

    image: Image.Image
    title: str
    caption: str


def plot_scan(
    head: Volume,
    brain: NDArray[np.bool_],
    regions: NDArray[np.int32],
    masks: Mapping[str, NDArray[np.bool_]],
    entry: Mapping[str, Any],
) -> ScanPicture:
    """The picture of a scan on the common grid.

    `masks` are some of MASK_COLOURS, `entry` is the scan's row of the table of measures.
    """
    data = np.asarray(head.data, dtype=np.float32)
    spacing = head.grid.spacing_mm
    box = _box(brain, spacing)
    marked = np.logical_or.reduce([np.zeros_like(brain), *masks.values()])
    planes = _planes(brain, marked)
    grey = _grey_levels(data, brain)
    coloured = _coloured(regions)
    rows = []
    for with_regions in (False, True):
        tiles = []
        for plane in planes:
            tile = np.repeat(_cut(grey, plane, box, spacing)[..., None], 3, axis=2)
            if with_regions:
                colour = coloured[_cut(np.minimum(regions, len(coloured) - 1), plane, box, spacing)]
                tile = np.where(colour.any(axis=2, keepdims=True), _blend(colour, tile), tile).astype(np.uint8)
            else:
                _outline(tile, _cut(brain, plane, box, spacing), BRAIN_COLOUR)
                for name, mask in masks.items():
                    _outline(tile, _cut(mask, plane, box, spacing), MASK_COLOURS[name])
            tiles.append(tile)
        rows.append(_beside(tiles))
    body = np.concatenate(rows, axis=0)
    title = f"{entry['subject']}, {entry['session']}"
    return ScanPicture(_with_text(body, title, entry), title, LEGEND)


def save_scan(picture: ScanPicture, path: str | Path) -> None:
    """Write a picture as PNG with a palette; title and caption stand in its text fields."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", picture.title)
    text.add_text("Description", picture.caption)
    reduced = picture.image.quantize(palette=_palette(), dither=Image.Dither.NONE)
    with whole_file(path) as temporary:
        reduced.save(temporary, format="PNG", optimize=True, pnginfo=text)


def _planes(brain: NDArray[np.bool_], marked: NDArray[np.bool_]) -> list[Plane]:
    """Axial planes from below to above, then the coronal and the sagittal one through the brain's middle."""
    low, high = _ends(brain, 2)
    numbers = {round(low + height * (high - low)) for height in HEIGHTS}
    if marked.any():
        most = int(marked.sum(axis=(0, 1)).argmax())
        # It takes the place of the nearest.
        numbers = {*sorted(numbers, key=lambda number: abs(number - most))[1:], most}
    axial = [Plane(2, number) for number in sorted(numbers)]
    return [*axial, *(Plane(axis, round(sum(_ends(brain, axis)) / 2)) for axis in (1, 0))]


def _box(brain: NDArray[np.bool_], spacing: NDArray[np.float64]) -> list[tuple[float, float]]:
    """The brain's first and last voxel along each axis, widened by the margin, within the grid."""
    box = []
    for axis, (size, side) in enumerate(zip(brain.shape, spacing, strict=True)):
        low, high = _ends(brain, axis)
        box.append((max(low - MARGIN_MM / side, 0.0), min(high + 1 + MARGIN_MM / side, float(size))))
    return box


def _ends(mask: NDArray[np.bool_], axis: int) -> tuple[int, int]:
    """The first and the last slice with a voxel of a mask; those of the grid where it is empty."""
    present = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
    return (int(present[0]), int(present[-1])) if len(present) else (0, mask.shape[axis] - 1)


def _cut(volume: Array, plane: Plane, box: Sequence[tuple[float, float]], spacing: NDArray[np.float64]) -> Array:
    """The pixels (rows from above, columns) of a plane inside the box, by nearest neighbour."""
    across, up = (axis for axis in range(3) if axis != plane.axis)
    picked = [_samples(box[axis], float(spacing[axis]), volume.shape[axis]) for axis in (across, up)]
    flat = np.take(volume, plane.number, axis=plane.axis)
    return np.asarray(flat[np.ix_(*picked)].T[::-1])


def _samples(ends: tuple[float, float], side_mm: float, size: int) -> NDArray[np.int64]:
    """The voxel under each pixel along an axis."""
    count = max(1, round((ends[1] - ends[0]) * side_mm * PIXELS_PER_MM))
    places = ends[0] + (np.arange(count) + 0.5) / (side_mm * PIXELS_PER_MM)
    return np.minimum(places.astype(np.int64), size - 1)


def _palette() -> Image.Image:
    """An image that holds every colour of a picture: grey levels, those blended with the regions' colours, outlines."""
    greys = np.rint(np.linspace(0, 255, LEVELS))[:, None].repeat(3, axis=1)
    colours = [np.array(ImageColor.getrgb(name)) for name in (*REGION_COLOURS.values(), DEEP_GREY)]
    blends = [_blend(colour, greys) for colour in colours]
    lines = [ImageColor.getrgb(name) for name in (*MASK_COLOURS.values(), BRAIN_COLOUR, WARNING)]
    entries = np.concatenate([greys, *blends, lines]).astype(np.uint8)
    palette = Image.new("P", (1, 1))
    palette.putpalette(entries.tobytes())
    return palette


def _blend(colour: Array, grey: Array) -> Array:
    """A region's colour over grey (..., 3)."""
    return REGION_OPACITY * colour + (1 - REGION_OPACITY) * grey


def _grey_levels(data: NDArray[np.float32], brain: NDArray[np.bool_]) -> Pixels:
    """Intensities from the least to the brain's brightest, in LEVELS steps of 0 to 255."""
    low, high = float(data.min()), float(np.percentile(data[brain] if brain.any() else data, 99.8))
    shares = np.clip((data - low) / max(high - low, 1e-6), 0, 1)
    return np.asarray(np.rint(shares * (LEVELS - 1)) * (255 / (LEVELS - 1)), dtype=np.uint8)


def _coloured(regions: NDArray[np.int32]) -> Pixels:
    """The colour (label, 3) of each label, black for none."""
    colours = np.tile(np.array(ImageColor.getrgb(DEEP_GREY), dtype=np.uint8), (int(regions.max()) + 1, 1))
    for codes, colour in REGION_COLOURS.items():
        colours[[code for code in codes if code < len(colours)]] = ImageColor.getrgb(colour)
    colours[0] = 0
    return colours


def _outline(tile: Pixels, mask: NDArray[np.bool_], colour: str) -> None:
    """Plot the border pixels of a mask into a tile (rows, columns, 3)."""
    tile[mask & ~ndimage.binary_erosion(mask)] = ImageColor.getrgb(colour)


def _beside(tiles: Sequence[Pixels]) -> Pixels:
    """Tiles in a row, the lower ones in the middle of its height, with a gap around each."""
    height = max(tile.shape[0] for tile in tiles) + GAP
    padded = []
    for tile in tiles:
        above = (height - tile.shape[0]) // 2
        padded.append(np.pad(tile, ((above, height - tile.shape[0] - above), (0, GAP), (0, 0))))
    return np.concatenate(padded, axis=1)


def _with_text(body: Pixels, title: str, entry: Mapping[str, Any]) -> Image.Image:
    """The picture with its title and flag above, and the measures below."""
    font = ImageFont.load_default(FONT_SIZE)
    height, width = body.shape[:2]
    above = [(f"{title}   {entry['contrasts']}", TEXT)]
    above += [(line, WARNING) for line in _lines(f"Flagged: {entry['flag']}".split(" "), width, font) if entry["flag"]]
    below = [(line, TEXT) for line in _lines(list(_measures(entry)), width, font, "   ")]
    canvas = Image.new("RGB", (width, height + LINE * (len(above) + len(below)) + 2 * GAP))
    canvas.paste(Image.fromarray(body), (0, LINE * len(above) + GAP))
    draw = ImageDraw.Draw(canvas)
    places = [LINE * number for number in range(len(above))]
    places += [LINE * (len(above) + number) + height + GAP for number in range(len(below))]
    for place, (text, colour) in zip(places, [*above, *below], strict=True):
        draw.text((GAP, place), text, fill=colour, font=font)
    return canvas


def _measures(entry: Mapping[str, Any]) -> Iterator[str]:
    """Each measure that a scan has, in words."""
    for name in MEASURES:
        value = float(entry[name])
        if np.isfinite(value):
            yield in_words(name, value)


def _lines(
    parts: list[str], width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, gap: str = " "
) -> list[str]:
    """Parts joined to lines that fit into a width in pixels."""
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]}{gap}{part}" if lines[-1] else part
        if lines[-1] and font.getlength(longer) > width - 2 * GAP:
            lines.append(part)
        else:
            lines[-1] = longer
    return lines
