"""What the page says of the run itself: facts, conventions, settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from msdiff.report.parts import ReportPart
from msdiff.report.provenance import find
from msdiff.report.run import Run
from msdiff.report.systems import PARTS

# Settings that say what was counted, wherever they stand in the config.
CONVENTIONS = ("connectivity", "matcher", "min_overlap", "threshold", "unit", "mode", "confidence_level")
VERSIONS = ("torch", "monai", "antspyx", "nibabel", "numpy", "scipy", "pandas", "scikit-image", "snakemake")


def facts(run: Run, provenance: Mapping[str, Any], parts: Sequence[ReportPart] = PARTS) -> list[tuple[str, str]]:
    """The run in a few lines: name and value."""
    git = provenance["git"]
    code = f"msdiff {provenance['msdiff']}"
    if git is not None:
        code += f", commit {git['commit'][:10]}" + (" with uncommitted changes" if git["dirty"] else "")
    found = [fact for part in parts if part.ran(run) for fact in part.facts(run).items()]
    if provenance["seeds"]:
        found.append(("Seeds", ", ".join(f"{path} {text(value)}" for path, value in provenance["seeds"].items())))
    found += [("Code", f"{code}; config SHA-256 {provenance['config_sha256'][:12]}"), ("Date", provenance["date_utc"])]
    # On a cluster the trainings ran elsewhere.
    found.append(("Machine of this record", f"{provenance['device']}; {provenance['platform']}"))
    versions = provenance["packages"]
    named = [f"{name} {versions[name]}" for name in VERSIONS if name in versions]
    found.append(("Versions", ", ".join([f"Python {provenance['python']}", *named])))
    return found


def conventions(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was counted, and how: what is fixed in the code, then what was chosen."""
    fixed = [
        ("unit of all statistics", "the patient; its slices, samples and seeds become one value first"),
        ("change at a session", "new or enlarging lesion since the patient's session before it"),
        ("lesions of the cohort table", "components of the change mask, 26-connected in scans, 8-connected in slices"),
        ("empty masks", "a ratio without a denominator is left out of a mean, and empty where it stands alone"),
        ("intensities in error measures", "in [0, 1], from [-1, 1] of the normalised scans"),
    ]
    chosen = find(dict(config), lambda key: key in CONVENTIONS or key.startswith("min_"))
    return fixed + [(path, text(value)) for path, value in chosen]


def leaves(values: Any, path: str = "") -> Sequence[tuple[str, str]]:
    """Every setting as dotted path and text."""
    if isinstance(values, dict) and values:
        return [leaf for key, value in values.items() for leaf in leaves(value, f"{path}.{key}" if path else str(key))]
    return [(path, text(values))]


def text(value: Any) -> str:
    """A setting in one line."""
    if isinstance(value, list):
        return ", ".join(text(part) for part in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {text(part)}" for key, part in value.items()) or "none"
    return "none" if value is None else str(value)
