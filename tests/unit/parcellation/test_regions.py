import logging
import os
from pathlib import Path

import numpy as np
import pytest

from msdiff.errors import BadInput, BadSettings
from msdiff.images import Volume, axis_aligned_grid
from msdiff.parcellation import plain
from msdiff.parcellation.regions import (
    LABELS,
    MniScan,
    ParcellationSettings,
    VolumeLimits,
    label,
    parcellate,
    volumes,
)

GRID = axis_aligned_grid((8, 8, 4), (20.0, 20.0, 30.0), (0.0, 0.0, 0.0))
OPTIONS = {"smoothing_mm": 0.0, "rounds": 10}
SHARED = os.environ.get("MSDIFF_SHARED")


def scan(data, contrast="t1w"):
    image = Volume(np.broadcast_to(data, GRID.shape).astype(np.float32), GRID.affine)
    brain = np.zeros(GRID.shape, dtype=bool)
    brain[1:7, 1:7, 1:3] = True
    return MniScan({contrast: image}, {contrast: image}, brain)


def settings(backend, options=None, **limits):
    volumes_ml = VolumeLimits(**({"min_brain_ml": 500.0, "max_brain_ml": 2500.0} | limits))
    return ParcellationSettings(backend=backend, options=options or {}, limits=volumes_ml)


def halves(labels=(2, 3, 41, 42)):
    """A map with two labels on either side."""
    label_map = np.zeros(GRID.shape, dtype=np.int32)
    for half, code in zip(np.ndindex(2, 2), labels, strict=True):
        label_map[4 * half[0] : 4 * half[0] + 4, 4 * half[1] : 4 * half[1] + 4] = code
    return label_map


def label_halves(options, threads):
    """A backend that reads no image, and says by its options which labels to give."""

    def label_scan(scan):
        label_map = halves(options.get("labels", (2, 3, 41, 42)))
        label_map[: options.get("blank", 0)] = 0
        return label_map

    return label_scan


class Many:
    """A backend that reads all scans before it labels the first."""

    def __init__(self, options, threads):
        self.seen = []

    def many(self, scans):
        self.seen = list(scans)
        yield from (halves() for _ in self.seen)


@pytest.fixture(autouse=True)
def as_plug_in(monkeypatch):
    """This file's backends can be named by their location."""
    import sys
    from types import ModuleType

    module = ModuleType("laboratory")
    module.label_halves, module.Many = label_halves, Many
    monkeypatch.setitem(sys.modules, "laboratory", module)


def test_left_is_where_x_is_negative():
    labels = label(np.full(GRID.shape, 3, dtype=np.uint8), GRID)
    assert (labels[:4] == 2).all()
    assert (labels[4:] == 41).all()
    mirrored = axis_aligned_grid((8, 8, 4), (-2.0, 2.0, 3.0), (0.0, 0.0, 0.0))
    assert (label(np.full(GRID.shape, 2, dtype=np.uint8), mirrored)[:4] == 42).all()
    assert (label(np.full(GRID.shape, 1, dtype=np.uint8), GRID) == 24).all()


def test_volumes_are_of_all_regions_found():
    labels = np.zeros(GRID.shape, dtype=np.int32)
    labels[0, 0, :3], labels[0, 1, 0] = 24, 60
    table = volumes(Volume(labels, GRID.affine)).set_index("region")
    assert table["label"].to_dict() == {"CSF": 24, "Right-VentralDC": 60}
    assert table["volume_mm3"].tolist() == pytest.approx([36000, 12000])


@pytest.mark.parametrize(("contrast", "order"), [("t1w", [24, 3, 2]), ("flair", [24, 2, 3]), ("t2w", [2, 3, 24])])
def test_classes_are_named_by_contrast(contrast, order):
    data = np.repeat(np.array([-0.9, -0.9, 0.1, 0.1, 0.1, 0.6, 0.6, 0.6]), 32).reshape(GRID.shape)
    shown = scan(data, contrast)._replace(brain=np.ones(GRID.shape, bool))
    labels = plain.load(OPTIONS, 1)(shown)
    in_left = {41: 2, 42: 3}
    assert [in_left.get(int(labels[x, 0, 0]), int(labels[x, 0, 0])) for x in (0, 3, 6)] == order


@pytest.mark.parametrize("backend", ["laboratory:label_halves", "laboratory:Many"])
def test_labels_end_at_the_brain_and_scans_keep_their_names(backend):
    named = [(f"sub-{k}", scan(0)) for k in range(3)]
    found = list(parcellate(iter(named), settings(backend), 1))
    assert [name for name, _ in found] == ["sub-0", "sub-1", "sub-2"]
    labels = found[1][1].data
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, np.where(named[1][1].brain, halves(), 0))


def test_the_log_tells_how_much_of_the_brain_is_labelled(caplog):
    chosen = settings("laboratory:label_halves", {"labels": (2, 3, 41, 42), "blank": 3})
    with caplog.at_level(logging.INFO):
        list(parcellate([("sub-0", scan(0))], chosen, 1))
    assert "sub-0: labels cover 67 % of the brain mask" in caplog.text


@pytest.mark.parametrize(
    ("labels", "limits", "told"),
    [
        ((0, 0, 0, 0), {}, "expected 500 to 2500 ml in all regions, found 0"),
        ((2, 3, 41, 42), {"max_brain_ml": 800.0}, "expected 500 to 800 ml in all regions, found 864"),
        ((2, 3, 41, 42), {"min_brain_ml": 900.0}, "expected 900 to 2500 ml in all regions, found 864"),
        ((2, 3, 41, 1035), {}, r"expected FreeSurfer's codes of LABELS, found \[1035\]"),
        ((2, 3, 41, 24), {}, "found no Right-Cerebral-Cortex"),
    ],
)
def test_maps_not_to_be_believed_are_refused(labels, limits, told):
    chosen = settings("laboratory:label_halves", {"labels": labels}, **limits)
    with pytest.raises(BadInput, match=f"sub-0: .*{told}.*; sub-1: .*{told}"):
        list(parcellate([("sub-0", scan(0)), ("sub-1", scan(0))], chosen, 1))


def test_unknown_backend_lists_the_known_ones():
    with pytest.raises(BadSettings, match="expected one of atlas, plain"):
        list(parcellate([("sub-0", scan(0))], settings("synthseg2"), 1))


@pytest.mark.skipif(SHARED is None, reason="MSDIFF_SHARED is not set")
def test_labels_are_those_of_synthseg():
    lists = Path(SHARED) / "data/label_maps"
    codes = np.load(lists / "synthseg_segmentation_labels_2.0.npy")
    assert sorted(LABELS) == sorted(set(codes.tolist()))
    names = dict(zip(codes.tolist(), np.load(lists / "synthseg_segmentation_names_2.0.npy").tolist(), strict=True))
    short = {"inf_lat_vent": "inferior_lateral_ventricle", "ventraldc": "ventral_dc", "brain_stem": "brain-stem"}
    for code, name in LABELS.items():
        if code:
            ours = name.lower().replace("-", "_")
            for said, meant in short.items():
                ours = ours.replace(said, meant)
            assert ours == names[code].lower().replace(" ", "_")
