"""A study in which radiologists read real and generated follow-ups without knowing which is which.

export      a page for the readers, and the key
import      check what the readers sent back, and join it with the key; `table reader_study` is made of it
"""

import argparse
import logging
from pathlib import Path

from msdiff import settings

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the two steps and their options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("export", help="make the page and the key")
    step.add_argument("--stack", type=Path, required=True, help="stack of the cohort's scans")
    step.add_argument("--shards", type=Path, nargs="+", required=True, help="shards of purpose held_out")
    step.add_argument("--page", type=Path, required=True, help="page to write (HTML), in a folder to hand out")
    step.add_argument("--key", type=Path, required=True, help="key to keep (TSV), outside of that folder")
    step.add_argument("--keys", type=Path, required=True, help="folder that keeps the key of every study")
    step.add_argument("--settings", required=True, help="JSON: section reader_study.export")
    step = steps.add_parser("import", help="check answers and join them with the key")
    step.add_argument("--keys", type=Path, required=True, help="folder of keys that export filled")
    step.add_argument("--answers", type=Path, nargs="+", required=True, help="files that the readers saved (CSV)")
    step.add_argument("--out", type=Path, required=True, help="answers to write (TSV)")
    step.add_argument("--settings", required=True, help="JSON: section reader_study.import")


def run(arguments: argparse.Namespace) -> None:
    """Do one step."""
    {"export": _export, "import": _import}[arguments.step](arguments)


def _export(arguments: argparse.Namespace) -> None:
    from msdiff.errors import BadInput
    from msdiff.reader_study.answers import key_path
    from msdiff.reader_study.design import StudyExportSettings
    from msdiff.reader_study.page import make_study
    from msdiff.sampling.shards import load_slices
    from msdiff.stack.reading import load_stack
    from msdiff.writing import whole_file

    chosen = settings.read(StudyExportSettings, arguments.settings, "reader_study.export")
    handed_out = arguments.page.parent
    for place in (arguments.key, arguments.keys):
        if place.resolve().is_relative_to(handed_out.resolve()):
            raise BadInput(f"{place}: expected a key outside of {handed_out}, which is given to the readers")
    stack = load_stack(arguments.stack)
    shards = [load_slices(folder, stack) for folder in arguments.shards]
    study = make_study(stack, shards, chosen)
    with whole_file(arguments.page) as temporary:
        temporary.write_text(study.page, encoding="utf-8")
    # A page is handed out once, and exported again whenever its inputs change: old answers must still find their key.
    for key in (key_path(arguments.keys, study.key["study"].iloc[0]), arguments.key):
        with whole_file(key) as temporary:
            study.key.to_csv(temporary, sep="\t", index=False)
    log.info("wrote %s: %.1f MB, and %s", arguments.page, len(study.page) / 1e6, arguments.key)


def _import(arguments: argparse.Namespace) -> None:
    from msdiff.reader_study.answers import ImportSettings, check_answers, read_answers, read_key, study_of
    from msdiff.writing import whole_file

    chosen = settings.read(ImportSettings, arguments.settings, "reader_study.import")
    files = {path: read_answers(path) for path in arguments.answers}
    key = read_key(arguments.keys, study_of(files))
    answers = check_answers(files, key, chosen)
    with whole_file(arguments.out) as temporary:
        answers.to_csv(temporary, sep="\t", index=False)
    log.info("wrote %s: %d answers of %d readers", arguments.out, len(answers), answers["reader"].nunique())
