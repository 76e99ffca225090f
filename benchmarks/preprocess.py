"""Time of the imaging steps: every backend beside the library call inside it, and a raw FLAIR pair from end to end.

    python benchmarks/preprocess.py --work DIR [--open-ms ROOT] [--patient 12] [--threads 2]
        [--parts pair registration ...]
        [--size paper] [--registration greedy] [--bias ants] [--skull-stripping deepbet]

The pair is one of open_ms_data, or a phantom's where no ROOT is given. First the commands of the workflow run one after
the other, as the workflow runs them, and wall and CPU seconds of each are printed. Then each backend runs on the pair's
images with its library's entry timed inside it: the overhead is what msdiff adds to that call, in percent of it.
Registrations start from the identity there, since the search before them is msdiff's own; its time is given by itself.
"""

import argparse
import json
import logging
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from msdiff.__main__ import main as msdiff
from msdiff.antspy import limit_threads
from msdiff.config_files import SIZES, merged_config
from msdiff.images import Volume, load_image, load_mask
from msdiff.patients import patient_images
from msdiff.preprocess import bias, normalisation, registration, skull_stripping
from msdiff.preprocess.search import Search, search
from msdiff.settings import Choice, check
from msdiff.spaces import load_itk_affine
from msdiff.template import template_brain

CONTRAST = "flair"
PARTS = ["pair", "registration", "bias", "skull_stripping", "normalisation"]
# Where each backend calls its library: module, owner's name in it, entry.
ENTRIES = {
    ("registration", "greedy"): ("picsl_greedy", "Greedy3D", "execute"),
    ("registration", "ants"): ("ants", "", "registration"),
    ("bias", "ants"): ("ants", "", "n4_bias_field_correction"),
    ("skull_stripping", "deepbet"): ("deepbet", "BrainExtraction", "run"),
    ("skull_stripping", "ants"): ("ants", "", "registration"),
}


def raw_pair(arguments: argparse.Namespace, config: dict[str, Any]) -> list[dict[str, str]]:
    """A patient's two sheet rows."""
    if arguments.open_ms:
        longitudinal = next(
            path for path in (arguments.open_ms / "longitudinal", arguments.open_ms) if (path / "raw").is_dir()
        )
        folder = longitudinal / "raw" / f"patient{arguments.patient:02d}"
        files = {f"ses-{study}": folder / f"study{study}_FLAIR.nii.gz" for study in (1, 2)}
    else:
        raw = arguments.work / "raw/sub-0001"
        if not raw.exists():
            numbers = json.dumps(config["cohort"]["phantom"]["phantom"])
            simulated = ["simulate-phantom", "--subjects", raw.name, "--contrasts", CONTRAST, "--out", str(raw.parent)]
            if code := msdiff([*simulated, "--settings", numbers]):
                raise SystemExit(code)
        files = {session: images[CONTRAST] for session, images in patient_images(raw).items()}
    return [{"subject": "sub", "session": session, CONTRAST: str(path)} for session, path in files.items()]


def commands(
    arguments: argparse.Namespace, part: dict[str, Any], rows: list[dict[str, str]]
) -> Iterator[tuple[str, list[str]]]:
    """The workflow's four commands on a pair, with their arguments."""

    def choice(stage: str) -> dict[str, Any]:
        backend = getattr(arguments, stage, None) or part[stage]["backend"]
        return {"backend": backend, "options": part[stage][backend]}

    def at(step: str) -> str:
        return str(arguments.work / step / "sub")

    def out(step: str) -> list[str]:
        return ["--out", str(arguments.work / step)]

    threads = ["--threads", str(arguments.threads)]
    grid = {"grid": part["grid"], "registration": choice("registration")}
    patient = ["--patients", json.dumps(rows), "--contrasts", CONTRAST, *out("registered")]
    yield "register", [*patient, *threads, "--settings", json.dumps(grid)]
    corrected = ["--registered", at("registered"), *out("corrected")]
    yield "correct-bias", [*corrected, *threads, "--settings", json.dumps(choice("bias"))]
    stripped = ["--registered", at("registered"), "--corrected", at("corrected"), *out("stripped")]
    yield "strip-skull", [*stripped, *threads, "--settings", json.dumps(choice("skull_stripping"))]
    normalised = ["--corrected", at("corrected"), "--stripped", at("stripped"), *out("normalised")]
    yield "normalise", [*normalised, "--settings", json.dumps(choice("normalisation"))]


def children_seconds() -> float:
    """CPU seconds of the processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def end_to_end(arguments: argparse.Namespace, part: dict[str, Any], rows: list[dict[str, str]]) -> Iterator[str]:
    """Rows of the table of commands, and their sum."""
    totals = np.zeros(2)
    for command, rest in commands(arguments, part, rows):
        shutil.rmtree(rest[rest.index("--out") + 1], ignore_errors=True)
        wall, cpu = time.perf_counter(), children_seconds()
        subprocess.run([sys.executable, "-m", "msdiff", command, *rest], check=True, stderr=subprocess.DEVNULL)
        spent = np.array([time.perf_counter() - wall, children_seconds() - cpu])
        totals += spent
        yield f"| {command} | {spent[0]:.1f} | {spent[1]:.1f} |"
    yield f"| whole pair | {totals[0]:.1f} | {totals[1]:.1f} |"


@contextmanager
def timed_entry(stage: str, backend: str) -> Iterator[list[float]]:
    """The CPU seconds of each call of a backend's library, as a list that grows."""
    seconds: list[float] = []
    module, owner, name = ENTRIES[stage, backend]
    place = getattr(import_module(module), owner) if owner else import_module(module)
    call = getattr(place, name)

    def timed(*args: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return call(*args, **options)
        finally:
            seconds.append(time.process_time() - start)

    with mock.patch.object(place, name, timed):
        yield seconds


def backend_rows(arguments: argparse.Namespace, part: dict[str, Any], rows: list[dict[str, str]]) -> Iterator[str]:
    """Rows of the table of backends: CPU seconds per scan, those inside the library, and the overhead."""
    limit_threads(1)
    spacing_mm = float(np.cbrt(np.prod(part["grid"]["spacing_mm"])))
    fixed, moving = (registration.even(registration.cubic(load_image(row[CONTRAST]), spacing_mm)) for row in rows)
    registered = load_image(patient_images(arguments.work / "registered/sub")[rows[0]["session"]][CONTRAST])
    corrected = load_image(patient_images(arguments.work / "corrected/sub")[rows[0]["session"]][CONTRAST])
    brain = np.asarray(load_mask(arguments.work / "stripped" / "brain_mask.nii.gz").data, dtype=np.bool_)
    to_grid = load_itk_affine(arguments.work / "registered/sub" / f"{rows[0]['session']}_{CONTRAST}_to_grid.txt")
    masks = registration.session_masks(fixed, Volume(template_brain(registered.grid), registered.affine), to_grid)
    images = {rows[0]["session"]: np.asarray(corrected.data, dtype=np.float32)}
    session = skull_stripping.Session({CONTRAST: registered}, {CONTRAST: corrected}, None)

    def register(choice: Choice) -> object:
        backend = registration.backends.load(registration.BACKENDS, choice.backend)
        return backend(fixed, moving, masks, "rigid", np.eye(4), options=choice.options)

    stages: dict[str, Callable[[Choice], object]] = {
        "registration": register,
        "bias": lambda choice: bias.correct_bias(registered, choice),
        "skull_stripping": lambda choice: skull_stripping.strip_skull({"scan": session}, choice, 1, "scan"),
        "normalisation": lambda choice: normalisation.normalise(images, brain, CONTRAST, choice),
    }
    names = {
        "registration": ["greedy", "ants", "plain"],
        "bias": ["ants", "none"],
        "skull_stripping": ["deepbet", "ants", "plain"],
        "normalisation": ["percentile", "zscore", "whitestripe"],
    }
    if "registration" in arguments.parts:
        settings = check(Search, part["registration"]["greedy"]["search"], "search")
        start = time.process_time()
        search(fixed, moving, masks.search, "rigid", settings)
        yield f"| registration | search of every backend | {time.process_time() - start:.2f} | | |"
    for stage, run in stages.items():
        for backend in names[stage] if stage in arguments.parts else ():
            choice = Choice(backend=backend, options=part[stage][backend])
            if (stage, backend) not in ENTRIES:
                start = time.process_time()
                run(choice)
                yield f"| {stage} | {backend} | {time.process_time() - start:.2f} | | |"
                continue
            # Once before, so that no import is counted.
            with timed_entry(stage, backend):
                run(choice)
            with timed_entry(stage, backend) as inside:
                start = time.process_time()
                run(choice)
                total = time.process_time() - start
            overhead = 100 * (total / sum(inside) - 1)
            yield f"| {stage} | {backend} | {total:.2f} | {sum(inside):.2f} | {overhead:.0f} % |"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what the commands write")
    parser.add_argument("--open-ms", type=Path)
    parser.add_argument("--patient", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2, help="of the commands; backends are timed on one")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="stages need the pair's output in DIR")
    parser.add_argument("--size", choices=SIZES, default="paper", help="of the config")
    for stage in ("registration", "bias", "skull-stripping", "normalisation"):
        parser.add_argument(f"--{stage}", help="a backend instead of the config's")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    config = merged_config(size=arguments.size)
    part = config["preprocess"]
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = raw_pair(arguments, config)
    if "pair" in arguments.parts:
        print("| command | wall, s | CPU, s |\n|---|---|---|", flush=True)
        for line in end_to_end(arguments, part, rows):
            print(line, flush=True)
    if set(arguments.parts) - {"pair"}:
        print("\n| stage | backend | CPU, s | of it in the library | overhead |\n|---|---|---|---|---|", flush=True)
        for line in backend_rows(arguments, part, rows):
            print(line, flush=True)


if __name__ == "__main__":
    main()
