"""Record what ran: versions, commit, settings, seeds, device, date."""

import argparse
import json
import logging
from pathlib import Path

from msdiff.errors import BadSettings

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--config", required=True, help="the whole config, as JSON")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")


def run(arguments: argparse.Namespace) -> None:
    """Collect the record, write it."""
    from msdiff.report.provenance import record
    from msdiff.writing import whole_file

    try:
        config = json.loads(arguments.config)
    except json.JSONDecodeError as error:
        raise BadSettings(f"--config: expected JSON, got {arguments.config[:60]!r} ({error})") from error
    if not isinstance(config, dict):
        raise BadSettings(f"--config: expected a JSON object, got {arguments.config[:60]!r}")
    entry = record(config)
    with whole_file(arguments.out) as temporary:
        temporary.write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
    logger.info("wrote %s: msdiff %s on %s", arguments.out, entry["msdiff"], entry["device"])
