"""Compare the tables of two finished runs: `python tests/compare_results.py OLD/results NEW/results`.

Says of every table whether it is equal, equal within rounding, or different, with the first differences. What a run
cost (compute.csv) differs each time: of it, the rules alone are compared, and only told. The exit code is 1 where a
table differs or is missing, 0 otherwise.
"""

import argparse
import csv
import math
import sys
from pathlib import Path

# Tables hold six significant digits: twice the last one, and of numbers near zero the sixth digit after the point.
RELATIVE, ABSOLUTE = 2e-5, 1e-6
SHOWN = 5
COSTS = "compute.csv"


def main(old: Path, new: Path) -> int:
    """Print a line for each table, and the first differences; the exit code."""
    tables = {folder: {path.name for path in (folder / "tables").glob("*.csv")} for folder in (old, new)}
    if not tables[old]:
        print(f"{old}: expected the folder results of a finished run, found no tables/*.csv")
        return 1
    failed = False
    for name in sorted(tables[old] | tables[new]):
        lacking = [folder for folder in (old, new) if name not in tables[folder]]
        if lacking:
            found, differences = "different", [f"missing in {lacking[0]}"]
        elif name == COSTS:
            found, differences = compare_rules(*(read(folder / "tables" / name) for folder in (old, new)))
        else:
            found, differences = compare(*(read(folder / "tables" / name) for folder in (old, new)))
        failed |= found == "different"
        print(f"{name}: {found}")
        for difference in differences[:SHOWN]:
            print(f"    {difference}")
        if len(differences) > SHOWN:
            print(f"    and {len(differences) - SHOWN} more")
    print("different" if failed else f"equal, or within rounding: {RELATIVE:g} of the number, or {ABSOLUTE:g}")
    return int(failed)


def read(path: Path) -> list[list[str]]:
    """The rows of a table, the header first."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def compare(old: list[list[str]], new: list[list[str]]) -> tuple[str, list[str]]:
    """What two tables have in common, in words, and their differences: columns, number of rows, then cells in order."""
    if old[:1] != new[:1]:
        columns = [set(table[0]) if table else set() for table in (old, new)]
        return "different", [
            f"columns: only old {sorted(columns[0] - columns[1])}, only new {sorted(columns[1] - columns[0])}, "
            "or in another order"
        ]
    if len(old) != len(new):
        return "different", [f"{len(old) - 1} rows before, {len(new) - 1} now"]
    rounded, differences = False, []
    for number, rows in enumerate(zip(old[1:], new[1:], strict=True), start=1):
        for column, before, now in zip(old[0], *rows, strict=True):
            if before != now:
                if close(before, now):
                    rounded = True
                else:
                    differences.append(f"row {number}, {column}: {before or 'empty'} before, {now or 'empty'} now")
    if differences:
        return "different", differences
    return "equal within rounding" if rounded else "equal", []


def close(before: str, now: str) -> bool:
    """Whether two cells are numbers that differ by rounding alone."""
    try:
        return math.isclose(float(before), float(now), rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    except ValueError:
        return False


def compare_rules(old: list[list[str]], new: list[list[str]]) -> tuple[str, list[str]]:
    """The rules of two tables of costs, and which only one of them has."""
    before, now = (
        {row[table[0].index("rule")] for row in table[1:] if row[table[0].index("source")] == "msdiff"}
        for table in (old, new)
    )
    told = [f"only old: {rule}" for rule in sorted(before - now)] + [
        f"only new: {rule}" for rule in sorted(now - before)
    ]
    return "compared by its rules alone", told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="folder results of a finished run")
    parser.add_argument("new", type=Path, help="folder results of another one")
    arguments = parser.parse_args()
    sys.exit(main(arguments.old, arguments.new))
