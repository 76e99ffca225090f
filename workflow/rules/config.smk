"""The config of all files and of the command line, checked before anything else."""

import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from msdiff.config_files import merged_config
from msdiff.errors import BadSettings


def stop(message):
    """End with one line on stderr and exit code 2, as every command does on bad input."""
    sys.stderr.write(f"msdiff: error: {' '.join(message.split())}\n")
    sys.exit(2)


def check(values, schema, name):
    """Stop unless the values follow workflow/schemas/{schema}.schema.json."""
    with open(workflow.source_path(f"../schemas/{schema}.schema.json")) as file:
        validator = Draft202012Validator(json.load(file))
    fault = best_match(validator.iter_errors(values))
    if fault is not None:
        key = ".".join(str(step) for step in fault.absolute_path) or "(top level)"
        stop(
            f"{name}: {key}: {fault.message}; correct it and run the same command again"
        )


# So far it holds what the command line gives.
try:
    config.update(
        merged_config(config, root=Path(workflow.basedir), page=Path("config.yaml"))
    )
except BadSettings as error:
    stop(str(error))
check(config, "config", "config")
