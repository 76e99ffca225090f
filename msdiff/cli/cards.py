"""What the commands of the two cards share: their options, reading a run's record, writing a card."""

import argparse
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msdiff.cli.named import named
from msdiff.cli.stacks import add_slabs, add_stack
from msdiff.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

    from msdiff.report.record import Record, Weights

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of both commands."""
    parser.add_argument("--provenance", type=Path, required=True, help="JSON that the command provenance wrote")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="tables of the run, in CSV")
    add_stack(parser)
    parser.add_argument("--weights", nargs="*", default=[], metavar="NAME=PATH", help="weights of the generators")
    parser.add_argument("--forecasters", nargs="*", default=[], metavar="NAME=PATH", help="weights of the forecasters")
    add_slabs(parser, required=False)
    parser.add_argument(
        "--forecast-shards", nargs="*", default=[], metavar="PURPOSE=SHARD", help="folders that sample-forecasts wrote"
    )
    parser.add_argument("--shards", type=Path, nargs="*", default=[], help="shards of synthetic follow-ups")
    parser.add_argument("--out", type=Path, required=True, help="Markdown to write")


def write_card(card: "Callable[[Record], str]", arguments: argparse.Namespace) -> None:
    """Write what `card` says of a run's record."""
    from msdiff.writing import whole_file

    text = card(read_record(arguments))
    with whole_file(arguments.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    log.info("wrote %s", arguments.out)


def read_record(arguments: argparse.Namespace) -> "Record":
    """The record of a run; BadInput where a part of it cannot be read."""
    import pandas as pd

    from msdiff.forecasting.slabs import load_slabs
    from msdiff.report.record import Record
    from msdiff.report.run import Run
    from msdiff.sampling.shards import load_shard
    from msdiff.stack.reading import load_stack
    from msdiff.tables.layout import read_tables

    try:
        provenance = json.loads(arguments.provenance.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise BadInput(f"{arguments.provenance}: expected the record of a run, cannot read it ({error})") from error
    scans = load_stack(*arguments.stack).scans
    forecasts: dict[str, list[pd.DataFrame]] = {}
    for purpose, folder in named("--forecast-shards", "PURPOSE=SHARD", arguments.forecast_shards):
        forecasts.setdefault(purpose, []).append(load_shard(folder).manifest)
    rows = [load_shard(folder).manifest for folder in arguments.shards]
    manifest = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({"generator": []})
    return Record(
        run=Run(read_tables(arguments.tables), provenance["config"], patients_by_split(scans)),
        provenance=provenance,
        scans=scans,
        generators=read_weights("--weights", arguments.weights),
        manifests={str(name): group for name, group in manifest.groupby("generator", sort=False)},
        forecasters=read_weights("--forecasters", arguments.forecasters),
        slabs=None if arguments.slabs is None else load_slabs(*arguments.slabs),
        forecasts={purpose: pd.concat(tables, ignore_index=True) for purpose, tables in forecasts.items()},
    )


def read_weights(option: str, entries: list[str]) -> "dict[str, Weights]":
    """The weights of each NAME=PATH by name, as the cards tell of them."""
    from msdiff.networks.weights import load_weights, sha256
    from msdiff.report.record import Weights

    found = {}
    for name, path in named(option, "NAME=PATH", entries):
        tensors, description = load_weights(path)
        found[name] = Weights(description, sum(tensor.numel() for tensor in tensors.values()), sha256(path))
    return found


def patients_by_split(scans: "pd.DataFrame") -> dict[str, int]:
    """Patients per split, in the order of their use."""
    counts = scans.drop_duplicates("subject")["split"].value_counts()
    return {split: int(counts[split]) for split in ("train", "validation", "test") if split in counts}
