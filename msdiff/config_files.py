"""The config from its files, each laid over the ones before: stages, size, user's page, overlays.

workflow/config/STAGE.yaml      every number, with its unit and reason, at the papers' size
workflow/config/sizes/SIZE.yaml what another size changes; the key `size` names it
config.yaml                     the page that a user changes
--configfile, --config          what one run changes

It imports no stage, so the workflow reads it in a moment; msdiff.config holds the types of what it reads.
"""

from pathlib import Path
from typing import Any

import yaml

from msdiff.config_check import one_of
from msdiff.errors import BadSettings

Config = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
SIZES = ("demo", "small", "paper")


def merged_config(*overlays: Config, size: str | None = None, root: Path = ROOT, page: Path | None = None) -> Config:
    """The whole config: the stages' files, the size's, the page and the overlays, of which the last wins.

    Parameters
    ----------
    overlays
        What is laid over the page, in this order.
    size
        One of SIZES; None: the one that the last of page and overlays names.
    root
        The checkout that holds workflow/config.
    page
        The user's page; None: config.yaml of the checkout.

    Raises
    ------
    BadSettings
        Where a file is missing or no mapping, or the size is none of SIZES.
    """
    own = [read_yaml(page or root / "config.yaml"), *overlays]
    if size is not None:
        own.append({"size": size})
    chosen = {key: value for changes in own for key, value in changes.items()}.get("size")
    if chosen not in SIZES:
        raise BadSettings(f"size: {one_of(SIZES, chosen)}")
    folder = root / "workflow/config"
    files = [*sorted(folder.glob("*.yaml")), folder / f"sizes/{chosen}.yaml"]
    config: Config = {}
    for changes in [*map(read_yaml, files), *own]:
        config = laid_over(config, changes)
    return config


def read_yaml(path: Path) -> Config:
    """The mapping in a YAML file; BadSettings where there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadSettings(f"{path}: cannot be read ({error.strerror})") from error
    try:
        # The C loader, where PyYAML has it, takes a tenth of the time.
        values = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise BadSettings(f"{path}: expected YAML, got {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise BadSettings(f"{path}: expected keys with values, got {values!r}")
    return values


def laid_over(base: Any, changes: Any) -> Any:
    """`base` with `changes` over it, mapping by mapping, as Snakemake does; neither is altered.

    >>> laid_over({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    {'a': {'b': 3, 'c': 2}}
    """
    if not isinstance(changes, dict):
        return changes
    if not isinstance(base, dict):
        base = {}
    return base | {key: laid_over(base.get(key), value) for key, value in changes.items()}


def chosen(section: Any) -> Any:
    """A section as a command gets it: each pluggable part with the options of the backend that it names.

    >>> chosen({"weight": {"backend": "min_snr", "unit": {}, "min_snr": {"gamma": 5.0}}})
    {'weight': {'backend': 'min_snr', 'options': {'gamma': 5.0}}}
    """
    if not isinstance(section, dict):
        return section
    if "backend" in section:
        name = section["backend"]
        return {"backend": name, "options": section.get(name, {})}
    return {key: chosen(value) for key, value in section.items()}
