"""Stacks and slabs of tests, with their lists (index of slices, fold) in the folder of the arrays."""

import pandas as pd

from msdiff.forecasting.slabs import load_slabs
from msdiff.stack.reading import load_stack


def write_lists(folder, scans, slices):
    """Write the lists of a stack; the column split becomes a fold."""
    scans, slices = pd.DataFrame(scans), pd.DataFrame(slices)
    scans[["subject", "split"]].drop_duplicates().to_csv(folder / "fold.tsv", sep="\t", index=False)
    scans.drop(columns="split").to_csv(folder / "scans.tsv", sep="\t", index=False)
    slices.drop(columns="split").to_csv(folder / "slices.tsv", sep="\t", index=False)


def write_patients(folder, patients):
    """Write the list of patients of slabs; the column split becomes a fold."""
    patients = pd.DataFrame(patients)
    patients[["subject", "split"]].to_csv(folder / "fold.tsv", sep="\t", index=False)
    patients.drop(columns="split").to_csv(folder / "patients.tsv", sep="\t", index=False)


def stack_files(folder):
    """What `--stack` takes."""
    return [str(path) for path in (folder, folder / "slices.tsv", folder / "fold.tsv")]


def slab_files(folder):
    """What `--slabs` takes."""
    return [str(path) for path in (folder, folder / "fold.tsv")]


def open_stack(folder):
    """The stack with its index and fold."""
    return load_stack(*stack_files(folder))


def open_slabs(folder):
    """The slabs with their fold."""
    return load_slabs(*slab_files(folder))
