"""Samples on disk, of any shape: one folder per shard.

    manifest.tsv       one row per item: what it was sampled from and by what
    <name>.npy         (item, ...), an array of the items
    arrays.json        of every array its coding and the shape of an item

Codings of arrays:

    scaled             images: uint16, 0 to 65535 for -1 to 1
    bits               masks: uint8, bits packed along the last axis

An item is a slice (y, x), a volume (z, y, x), or all draws of a patient's slab (draw, z, y, x). The modules that sample
say which arrays they write, and which columns.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.stack.reading import Stack
from msdiff.writing import whole_folder

TOP = 65535
# Columns of names, which may look like numbers.
NAMES = dict.fromkeys(("subject", "arm", "own_arm"), str)


class Items(NamedTuple):
    """An array of a shard: how its items are coded, and the shape of one."""

    coding: str
    shape: tuple[int, ...]


class Shard(NamedTuple):
    """A shard as it lies on disk: its manifest is read, its arrays are mapped.

    `places` are those of the manifest's rows in the arrays; None where they are the same.
    """

    folder: Path
    manifest: pd.DataFrame
    items: Mapping[str, Items]
    stored: Mapping[str, NDArray[Any]]
    places: NDArray[np.integer] | None = None

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an item of an array; BadInput where the shard has no such array."""
        return self._of(name).shape

    def read(self, name: str, index: slice | int | NDArray[np.integer]) -> NDArray[Any]:
        """Items of an array as they were sampled: images float32 in [-1, 1], masks bool; one item for a number.

        Raises BadInput where the shard has no such array.
        """
        coding, shape = self._of(name)
        index = index if self.places is None else self.places[index]
        return CODINGS[coding].decode(np.asarray(self.stored[name][index]), shape)

    def _of(self, name: str) -> Items:
        if name not in self.items:
            raise BadInput(f"{self.folder}: expected a shard with {name}, got one of {', '.join(self.items)}")
        return self.items[name]


class OpenShard(NamedTuple):
    """A shard that is being written: its arrays lie on the disk and take a few items at a time."""

    items: Mapping[str, Items]
    stored: Mapping[str, NDArray[Any]]

    def write(self, places: NDArray[np.integer], values: Mapping[str, NDArray[Any]]) -> None:
        """Put items (place, ...) in their places; or parts of items, counted through all items along the first axis."""
        for name, array in self.stored.items():
            coded = CODINGS[self.items[name].coding].encode(values[name])
            array.reshape(-1, *coded.shape[1:])[places] = coded


@contextmanager
def new_shard(folder: str | Path, manifest: pd.DataFrame, items: Mapping[str, Items]) -> Iterator[OpenShard]:
    """A shard to write the manifest's items to; the folder appears whole at the end, or not at all."""
    with whole_folder(folder) as temporary:
        manifest.to_csv(temporary / "manifest.tsv", sep="\t", index=False)
        described = {name: of._asdict() for name, of in items.items()}
        (temporary / "arrays.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        stored = {
            name: _new_array(temporary / f"{name}.npy", CODINGS[of.coding].kind, _stored_shape(len(manifest), of))
            for name, of in items.items()
        }
        yield OpenShard(items, stored)
        for array in stored.values():
            if isinstance(array, np.memmap):
                array.flush()


def save_shard(folder: str | Path, manifest: pd.DataFrame, **values: NDArray[Any]) -> Shard:
    """Write images (float) and masks (bool), (item, ...), whole or not at all; the shard as it then lies on disk."""
    items = {
        name: Items("bits" if array.dtype == np.bool_ else "scaled", array.shape[1:]) for name, array in values.items()
    }
    with new_shard(folder, manifest, items) as opened:
        opened.write(np.arange(len(manifest)), values)
    return load_shard(folder)


def load_shard(folder: str | Path) -> Shard:
    """Open a shard without reading its arrays; BadInput where the folder is none, or its parts disagree."""
    folder = Path(folder)
    try:
        manifest = pd.read_csv(folder / "manifest.tsv", sep="\t", keep_default_na=False, dtype=NAMES)
        described = json.loads((folder / "arrays.json").read_text(encoding="utf-8"))
        items = {name: Items(of["coding"], tuple(of["shape"])) for name, of in described.items()}
        # A file without elements cannot be mapped.
        stored = {name: np.load(folder / f"{name}.npy", mmap_mode="r" if len(manifest) else None) for name in items}
        for name, of in items.items():
            found, expected = stored[name], _stored_shape(len(manifest), of)
            if found.shape != expected or found.dtype != CODINGS[of.coding].kind:
                raise ValueError(f"{name}.npy: expected {expected}, got {found.dtype} {found.shape}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{folder}: expected a shard of samples, cannot read it ({error}); make it by sample-images or "
            "sample-forecasts"
        ) from error
    return Shard(folder, manifest, items, stored)


def load_slices(folder: str | Path, stack: Stack) -> Shard:
    """Open a shard of slices; or one of volumes as the shard of their slices with brain of the baseline in them."""
    shard = load_shard(folder)
    depths = {of.shape[0] for of in shard.items.values() if len(of.shape) > 2}
    if not depths:
        return shard
    if depths != {stack.grid.shape[2]}:
        raise BadInput(f"{folder}: expected volumes of the stack's {stack.grid.shape[2]} slices, got {max(depths)}")
    brains = (stack.read("brain_mask", row).any(axis=(1, 2)) for row in shard.manifest["baseline_row"])
    item, number = np.nonzero(np.array(list(brains)).reshape(-1, *depths))
    rows = shard.manifest.iloc[item].reset_index(drop=True)
    return Shard(
        shard.folder,
        rows.assign(**{name: number for name in ("slice", "mask_slice") if name in rows}),
        {name: Items(of.coding, of.shape[1:]) for name, of in shard.items.items()},
        {name: array.reshape(-1, *array.shape[2:]) for name, array in shard.stored.items()},
        item * stack.grid.shape[2] + number,
    )


def joined(shards: Sequence[Shard], common: Sequence[str]) -> pd.DataFrame:
    """The rows of all shards in order, with the columns shard and place, where each is found.

    Manifests have columns `row`, the number among the rows of all shards, `rows`, how many these are, and `purpose`.

    Raises BadInput where they are not the shards of one run, each once: all rows share the `common` columns.
    """
    tables = [
        shard.manifest.assign(shard=number, place=range(len(shard.manifest))) for number, shard in enumerate(shards)
    ]
    rows = pd.concat(tables, ignore_index=True).sort_values("row", ignore_index=True)
    if rows.empty:
        raise BadInput(f"{shards[0].folder}: expected samples, got shards without any; sample them again")
    for column in ("rows", "purpose", *common):
        found = rows[column].unique()
        if len(found) > 1:
            first, other = (shards[rows.loc[rows[column] == value, "shard"].iloc[0]].folder for value in found[:2])
            raise BadInput(
                f"{other}: expected the {column} of {first}, {found[0]}, got {found[1]}; sample all shards alike"
            )
    expected = int(rows["rows"].iloc[0])
    if rows["row"].tolist() != list(range(expected)):
        missing = sorted(set(range(expected)) - set(rows["row"]))
        fault = f"row {missing[0]} is missing" if missing else f"got {len(rows)}, some twice"
        raise BadInput(
            f"{shards[0].folder.parent}: expected all {expected} rows of {rows['purpose'].iloc[0]}, each once; {fault}"
            "; give every shard once"
        )
    return rows


class Coding(NamedTuple):
    """How an array is stored: its type, and functions to it and, given the shape of an item, from it."""

    kind: type[np.generic]
    encode: Callable[[NDArray[Any]], NDArray[Any]]
    decode: Callable[[NDArray[Any], tuple[int, ...]], NDArray[Any]]


CODINGS = {
    "scaled": Coding(
        np.uint16,
        lambda images: np.rint((np.clip(images, -1, 1) + 1) / 2 * TOP).astype(np.uint16),
        lambda stored, _: (stored / TOP * 2 - 1).astype(np.float32),
    ),
    "bits": Coding(
        np.uint8,
        lambda masks: np.packbits(masks, axis=-1),
        lambda stored, shape: np.unpackbits(stored, axis=-1, count=shape[-1]).view(np.bool_),
    ),
}


def _stored_shape(rows: int, items: Items) -> tuple[int, ...]:
    *others, last = items.shape
    return (rows, *others, -(-last // 8) if items.coding == "bits" else last)


def _new_array(path: Path, kind: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
    """An array of zeros in a new .npy file, mapped; a file without elements cannot be."""
    if 0 in shape:
        np.save(path, np.zeros(shape, kind))
        return np.zeros(shape, kind)
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
