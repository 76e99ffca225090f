"""What Snakemake knows of a run, asked of the `snakemake` program as a user would ask it."""

import re
import shlex
import subprocess
from collections.abc import Sequence

from msdiff.errors import BadInput

# The name of a fault; before it stand a log or a traceback.
FAULT = re.compile(r"\w*(Error|Exception)\b")
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
        raise BadInput(f"snakemake {shlex.join(arguments)}: {_message(run.stderr + run.stdout)}")
    return run.stdout


def _message(text: str) -> str:
    """Snakemake's complaint in one line: msdiff's own where the config was refused, else the last fault named."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line.partition("error: ")[2] for line in lines if re.match(r"(msdiff|snakemake): error: ", line)]
    last = max((place for place, line in enumerate(lines) if FAULT.match(line)), default=-1)
    return " ".join(own or lines[last:])[:LONGEST_MESSAGE]
