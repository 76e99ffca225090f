"""What a system of the study makes, as data: its rule file says so, and tables, figures, report and cards read it."""

from typing import NamedTuple


class System(NamedTuple):
    """A system: what stands once for all systems takes from each what it made.

    cohort        that it learns from: its stack is made
    lacking       why it cannot run, in one line; empty where it can
    tables        of the report, by name: how each is made
    weights       by name: what was trained
    histories     of the trainings, by the names of panel and curve
    made          what `all` asks for by name: when a run is killed while it makes one of these anew, the old one is
                  gone, and Snakemake does not miss what lies behind results that exist
    figures, page, provenance, model_card, datasheet
                  options of the commands plot-figures, report, provenance, model-card and datasheet, each with its
                  paths, or with pairs of a name and a path
    """

    cohort: str
    lacking: str
    tables: dict
    weights: dict
    histories: dict
    made: list
    figures: dict
    page: dict
    provenance: dict
    model_card: dict
    datasheet: dict


def joined(systems, field):
    """One field of all systems: their dicts as one, in the systems' order."""
    return {key: value for system in systems for key, value in getattr(system, field).items()}


def joined_options(systems, field):
    """The options of a command from all systems; what several give to one option follows each other."""
    joined = {}
    for system in systems:
        for name, values in getattr(system, field).items():
            joined.setdefault(name, []).extend(values)
    return joined


def words(options):
    """Options with their values as words of a command, NAME=PATH for a pair; an option without values is left out."""
    return [
        word
        for name, values in options.items()
        if values
        for word in (name, *(value if isinstance(value, str) else "=".join(value) for value in values))
    ]


def paths(options):
    """The paths in options."""
    return [value if isinstance(value, str) else value[1] for values in options.values() for value in values]
