"""Record what ran: versions, commit, settings, seeds, device, date, digests of data, weights and tables."""

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from msdiff.cli.named import named
from msdiff.cli.stacks import add_slabs, add_stack
from msdiff.errors import BadSettings

if TYPE_CHECKING:
    from msdiff.forecasting.slabs import Slabs
    from msdiff.stack.reading import Stack

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--config", required=True, help="the whole config, as JSON")
    add_stack(parser, required=False)
    add_slabs(parser, required=False)
    parser.add_argument("--sheet", type=Path, help="the cohort's scan sheet")
    parser.add_argument("--weights", nargs="*", default=[], metavar="NAME=PATH", help="trained weights")
    parser.add_argument("--tables", type=Path, nargs="*", default=[], help="tables in CSV")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")


def run(arguments: argparse.Namespace) -> None:
    """Collect the record, write it."""
    from msdiff.forecasting.slabs import load_slabs
    from msdiff.report.provenance import record
    from msdiff.settings import digest
    from msdiff.stack.reading import digest_of_rows, load_stack
    from msdiff.writing import whole_file

    try:
        config = json.loads(arguments.config)
    except json.JSONDecodeError as error:
        raise BadSettings(f"--config: expected JSON, got {arguments.config[:60]!r} ({error})") from error
    if not isinstance(config, dict):
        raise BadSettings(f"--config: expected a JSON object, got {arguments.config[:60]!r}")
    files = {
        "sheet": {} if arguments.sheet is None else {arguments.sheet.name: arguments.sheet},
        "weights": dict(named("--weights", "NAME=PATH", arguments.weights)),
        "tables": {path.stem: path for path in arguments.tables},
    }
    arrays = {}
    if arguments.stack is not None:
        stack = load_stack(*arguments.stack)
        arrays["stack"] = digest(_content(stack), digest_of_rows(stack.scans), digest_of_rows(stack.slices))
    if arguments.slabs is not None:
        slabs = load_slabs(*arguments.slabs)
        arrays["slabs"] = digest(_content(slabs), digest_of_rows(slabs.patients))
    entry = record(config, files, **arrays)
    with whole_file(arguments.out) as temporary:
        temporary.write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
    log.info("wrote %s: msdiff %s on %s", arguments.out, entry["msdiff"], entry["device"])


def _content(opened: "Stack | Slabs") -> str:
    """Digest of all arrays."""
    return opened.sha256(*sorted(path.stem for path in opened.folder.glob("*.npy")))
