"""Write the schema of the config, which the workflow checks before the first job, from the typed settings."""

import argparse
import json
from pathlib import Path

from msdiff.writing import whole_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--out", type=Path, required=True, help="workflow/schemas/config.schema.json")


def run(arguments: argparse.Namespace) -> None:
    """Write the schema."""
    with whole_file(arguments.out) as temporary:
        temporary.write_text(text())


def text() -> str:
    """The schema as it is written."""
    from msdiff.config import config_schema

    return json.dumps(config_schema(), indent=1) + "\n"
