"""Write generated follow-ups as NIfTI files, each with a sidecar that says what it is and where it came from."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--stack", type=Path, required=True, help="stack that the samples are from")
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="shards from sample-images")
    parser.add_argument("--license", required=True, help="licence of the exported set, for every sidecar")
    parser.add_argument("--samples", type=int, nargs="+", help="numbers of the samples to write; without it, all")
    parser.add_argument("--every", type=int, default=1, help="only every so many of them")
    parser.add_argument("--overwrite", action="store_true", help="replace what is in the folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")


def run(arguments: argparse.Namespace) -> None:
    """Export the samples."""
    from msdiff.errors import BadInput
    from msdiff.sampling.nifti import export_samples
    from msdiff.stack.reading import load_stack

    if arguments.every < 1:
        raise BadInput(f"--every: expected 1 or more, got {arguments.every}")
    written = export_samples(
        load_stack(arguments.stack),
        arguments.shards,
        arguments.out,
        arguments.license,
        arguments.samples,
        arguments.every,
        arguments.overwrite,
    )
    log.info("wrote %s: %d samples", arguments.out, written)
