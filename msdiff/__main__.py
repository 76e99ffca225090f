"""`python -m msdiff COMMAND`: one command per rule of the workflow.

Exit codes: 0 done, 2 bad input (one line on stderr), 75 stopped before the time limit (run it again), 1 a bug
(traceback).
"""

import argparse
import logging
import os
import sys
from importlib import import_module

from msdiff import __version__
from msdiff.cli import COMMANDS
from msdiff.errors import MsdiffError, OutOfTime
from msdiff.logs import log_to_stderr

EXIT_BAD_INPUT = 2
EXIT_OUT_OF_TIME = 75


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    # OpenMP's threads wait by spinning, and where another process wants their cores a training takes ten times as long.
    # Read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    log_to_stderr()
    name = arguments[0] if arguments else ""
    if name not in COMMANDS:
        return _overview(arguments)
    module = import_module(COMMANDS[name][0])
    parser = argparse.ArgumentParser(prog=f"msdiff {name}", description=module.__doc__)
    module.add_arguments(parser)
    try:
        module.run(parser.parse_args(arguments[1:]))
    except MsdiffError as error:
        sys.stderr.write(f"msdiff {name}: error: {' '.join(str(error).split())}\n")
        return EXIT_BAD_INPUT
    except OutOfTime as reason:
        logging.getLogger("msdiff").info("%s", reason)
        return EXIT_OUT_OF_TIME
    return 0


def _overview(arguments: list[str]) -> int:
    """List the commands; an error unless help or the version was asked for."""
    if arguments[:1] == ["--version"]:
        sys.stdout.write(f"msdiff {__version__}\n")
        return 0
    width = max(len(name) for name in COMMANDS)
    lines = ["usage: python -m msdiff COMMAND [options]", ""]
    lines += [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    lines += ["", "python -m msdiff COMMAND --help tells a command's options."]
    if arguments[:1] in (["--help"], ["-h"]):
        sys.stdout.write("\n".join(lines) + "\n")
        return 0
    unknown = f"unknown command {arguments[0]!r}; " if arguments else ""
    sys.stderr.write(f"msdiff: error: {unknown}expected one of: {', '.join(COMMANDS)}\n")
    return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
