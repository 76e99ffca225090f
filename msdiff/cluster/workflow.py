"""What Snakemake knows of a run, asked of the `snakemake` program as a user would ask it."""

import re
import shlex
import subprocess
from collections.abc import Sequence

from msdiff.errors import BadInput

# What Snakemake says before a message of its own.
NOISE = re.compile(
    r"Using |host:|Building DAG|Assuming |Config |Command:|\s*[A-Z]\w+ ?\w*: |SNAKEMAKE|=+$|Full Traceback"
)
LONGEST_MESSAGE = 500


def ask_snakemake(options: Sequence[str], arguments: Sequence[str]) -> str:
    """What `snakemake OPTIONS ARGUMENTS` prints on stdout; options come first, for arguments may end in targets.

    Raises BadInput with Snakemake's own message where it is not there, or refuses.
    """
    try:
        run = subprocess.run(["snakemake", *options, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise BadInput(
            "snakemake: no such program; activate the environment that holds it (docs/cluster.md) and try again"
        ) from error
    if run.returncode:
        raise BadInput(f"snakemake {shlex.join(arguments)}: {_message(run.stdout + run.stderr)}")
    return run.stdout


def _message(text: str) -> str:
    """Snakemake's complaint in one line: msdiff's own where the config was refused, else the last lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line.partition("error: ")[2] for line in lines if re.match(r"(msdiff|snakemake): error: ", line)]
    said = own or [line for line in lines if not NOISE.match(line)] or lines[-1:]
    return " ".join(said)[-LONGEST_MESSAGE:]
