"""Trees of the published names, and sheets written and read back."""

import pytest

from msdiff.cohort.sheets import read_sheet, write_sheet
from msdiff.cohort.sources.listing import list_scans


@pytest.fixture
def touch():
    """A function that makes empty files of these names under a folder."""

    def make(root, *names):
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return make


@pytest.fixture
def sheet(tmp_path):
    """A function that lists a source in a sheet and reads it back, with paths relative to a root."""

    def read(source, root, contrasts, base=None, **options):
        path = tmp_path / "sheet.tsv"
        write_sheet(list_scans(source, root, options), path)
        table = read_sheet(path, contrasts)
        base = str(base or root)
        for column in table.columns.drop(["days"]):
            table[column] = [cell.removeprefix(f"{base}/") for cell in table[column]]
        return table

    return read
