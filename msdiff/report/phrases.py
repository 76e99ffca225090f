"""Numbers, counts and lists in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

# Below this number of patients an interval is wider than any effect in the papers.
FEW_PATIENTS = 10
SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MINUS = "\N{MINUS SIGN}"


def number(value: float) -> str:
    """Three significant digits, whole from 1000 on.

    >>> number(0.08333), number(-2.0), number(1702.4), number(0)
    ('0.0833', '−2', '1702', '0')
    """
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", MINUS) if not text.startswith("-0") or float(text) else text.removeprefix("-")


def percent(share: float) -> str:
    """A share in per cent, with one digit below 10 %.

    >>> percent(0.0123), percent(0.5), percent(0.0)
    ('1.2 %', '50 %', '0 %')
    """
    return f"{number(float(f'{100 * share:.2g}'))} %"


def estimate(row: Mapping[str, Any] | pd.Series, name: str) -> str:
    """An estimate with its interval in brackets, where it has one.

    >>> estimate({"dice": 0.5, "dice_lo": 0.25, "dice_hi": 0.75}, "dice")
    '0.5 [0.25, 0.75]'
    """
    low, high = limits(row, name)
    interval = "" if np.isnan([low, high]).any() else f" [{number(low)}, {number(high)}]"
    return f"{number(row[name])}{interval}"


def limits(row: Mapping[str, Any] | pd.Series, name: str) -> tuple[float, float]:
    """The ends of an estimate's interval; NaN where it has none."""
    return float(row.get(f"{name}_lo", np.nan)), float(row.get(f"{name}_hi", np.nan))


def overlap(first: Mapping[str, Any] | pd.Series, second: Mapping[str, Any] | pd.Series, name: str) -> bool | None:
    """Whether the intervals of an estimate in two rows overlap; None where one has none."""
    (low, high), (other_low, other_high) = limits(first, name), limits(second, name)
    if np.isnan([low, high, other_low, other_high]).any():
        return None
    return low <= other_high and other_low <= high


def count(n: float, singular: str, plural: str = "") -> str:
    """A whole number with its noun.

    >>> count(1, "test patient"), count(2, "scan"), count(0, "entry", "entries")
    ('1 test patient', '2 scans', '0 entries')
    """
    return f"{int(n)} {singular if n == 1 else plural or f'{singular}s'}"


def spelled(n: float, singular: str, plural: str = "") -> str:
    """As `count`, with numbers to ten in words: for the start of a sentence.

    >>> spelled(1, "reader"), spelled(2, "reader"), spelled(11, "reader")
    ('one reader', 'two readers', '11 readers')
    """
    digits, _, noun = count(n, singular, plural).partition(" ")
    return f"{SMALL[int(n)] if n < len(SMALL) else digits} {noun}"


def listed(parts: Sequence[str], word: str = "and") -> str:
    """Parts in one line.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"], "or")
    ('a', 'a and b', 'a, b or c')
    """
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {word} {parts[-1]}"


def capital(text: str) -> str:
    """The text with a capital at its start, the rest as it is."""
    return text[:1].upper() + text[1:]


def rests_on(ours: pd.DataFrame, kind: str) -> str:
    """On how many patients a table rests, and whether they are too few."""
    smallest, largest = int(ours["n"].min()), int(ours["n"].max())
    patients = count(largest, f"{kind} patient") if smallest == largest else f"{smallest} to {largest} {kind} patients"
    few = ", too few for any conclusion" if smallest < FEW_PATIENTS else ""
    return f"All this rests on {patients}{few}."
