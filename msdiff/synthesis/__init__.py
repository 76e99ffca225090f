"""Generators of follow-up scans: training, plans, samples and scores.

A generator is a module with two functions. msdiff's own are listed here by name; of one's own the config gives name and
module (docs/extending.md).

    train     (stack, settings, auxiliary, checkpoints, minutes, device, compile_when) -> Trained
              settings are plain values of its section of the config, checked by the generator itself; auxiliary is the
              path of a trained detector's weights. With several accelerators it is called in as many processes, for
              msdiff.training.train to share the batches, where settings have `training` (TrainingSettings).
              compile_when is as in msdiff.networks.compiled. Trained is that of msdiff.training; its description holds
              `patients` that it was trained on, `settings` with the `contrast` that it makes and its `scalars` (scan or
              slice: what they describe), and more, as the generator needs it
    sample    (tensors, description, device, compile_when) -> follow_ups(baseline, change_mask, scalars, seeds, sampler)
              baseline (B, 1, ...) in [-1, 1] and change_mask (B, 1, ...) of 0 and 1 are slices (y, x) or volumes
              (z, y, x); scalars (B, 3) are in mm3, a number and 0 or 1; one seed per sample, a SamplerSettings; all on
              the CPU. Returns follow-ups (B, 1, ...) on its device, finished or not, so that the next batch can be
              ordered before this one is fetched. A sample depends on its own inputs and seed only; bit for bit on a
              CPU, within rounding on an accelerator
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from msdiff.errors import BadInput, BadSettings

GENERATORS = {"long_ms_diff": "msdiff.synthesis.long_ms_diff.generator"}


def generator_of(name: str, module: str | None = None) -> Any:
    """The module of a generator: that of the table, or of one's own the `module` that the config gives.

    No name from a file comes here but by the table. Raises BadSettings where the name is unknown, or is one of
    msdiff's and has a module too, or where the module cannot be imported or has no `train` and `sample`.
    """
    if module is None and name not in GENERATORS:
        raise BadSettings(
            f"generator: expected one of {', '.join(GENERATORS)}, or one of your own with its module, got {name!r}"
        )
    if module is not None and name in GENERATORS:
        raise BadSettings(
            f"generator {name}: expected another name for the generator of {module}, this is msdiff's own"
        )
    location = GENERATORS[name] if module is None else module
    try:
        found = import_module(location)
    except (ModuleNotFoundError, ValueError, TypeError) as error:
        raise BadSettings(
            f"generator {name}: cannot import the module {location!r} ({error}); correct synthesis.{name}.module, or "
            "start in the folder that holds it"
        ) from error
    missing = [function for function in ("train", "sample") if not callable(getattr(found, function, None))]
    if missing:
        raise BadSettings(f"generator {name}: expected {location} to have train and sample, got no {missing[0]}")
    return found


def described(description: Mapping[str, Any], name: str, item: str | None) -> dict[str, Any]:
    """The description of trained weights as their file has it: with the generator's name, and what it samples.

    Raises BadSettings where the generator left out what samples and checks need.
    """
    missing = [key for key in ("contrast", "scalars") if key not in description.get("settings", {})]
    missing += [key for key in ("patients",) if key not in description]
    if missing:
        raise BadSettings(
            f"generator {name}: expected a description with {missing[0]}; see msdiff/synthesis/__init__.py"
        )
    own = {} if item is None else {"item": item}
    return {**description, "kind": "generator", "generator": name, **own}


def check_name(description: Mapping[str, Any], name: str | None, weights: str | Path) -> str:
    """The generator of a weights file, which is the one asked for; without one asked for, one of msdiff's own.

    The name is compared and never imported. Raises BadInput where it is another.
    """
    found = description.get("generator")
    if name is None and found not in list(GENERATORS):
        raise BadInput(
            f"{weights}: expected weights of {' or '.join(GENERATORS)}, got those of {found!r}; give --generator, "
            "and the --module of one of your own"
        )
    if name not in (None, found):
        raise BadInput(f"{weights}: expected weights of the generator {name}, got those of {found!r}; give its own")
    return str(found)
