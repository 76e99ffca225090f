"""Which slices a detector trains on: real ones of the training split, and synthetic ones in a chosen ratio.

A mix `R-S` means S synthetic slices to every R real ones; `1-0` is real only. `0-S` is synthetic only: nothing real is
listed, and S times as many synthetic slices as there are real ones of the unit, so that 0-1 holds the synthetic slices
of 1-1 and no others. (Their baselines are real scans, and their change masks come from real ones.) What the ratio
counts is the unit:

slice            every slice with brain in it
positive_slice   the slices with change in them, real and synthetic; no others are listed
patient          every slice with brain in it, the ratio kept within each patient: its own slices are joined by
                 S / R times as many follow-ups sampled on its own baseline

The paper's ratios must have counted slices with change: 15,000 follow-ups are about as many as all its real training
slices, so 1:2 and 1:3 over all of them cannot be.

In the mode `add` all real slices stay and synthetic ones join them; in `replace` their sum stays at the number of real
slices, which are thinned to the share R / (R + S): to none of them in 0-S, whatever S.

Synthetic slices are chosen without replacement, and mixes of one seed are nested: the slices of 1-1 are among those of
1-2. A mix is a table with the columns MIX_COLUMNS; -1 and an empty cell stand for what a kind does not have. Real
slices come first, so that evenly spread choices hold the ratio in every batch of a training.

Reference: Long-MS-Diff (2025), section 3 and table 1.
"""

import logging
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from msdiff.errors import BadInput
from msdiff.lists import read_list
from msdiff.sampling.shards import load_slices
from msdiff.settings import Settings
from msdiff.stack.reading import Stack

log = logging.getLogger(__name__)

MIX_COLUMNS = ["kind", "subject", "pair", "slice", "baseline_row", "follow_up_row", "shard", "index"]


class Parts(NamedTuple):
    """What a mix is named by: synthetic slices to so many real ones."""

    real: int
    synthetic: int


class MixSettings(Settings):
    """What the ratio counts, and whether synthetic slices join the real ones or take their place."""

    unit: Literal["slice", "positive_slice", "patient"]
    mode: Literal["add", "replace"]


def mix_slices(stack: Stack, mix: str, shards: Sequence[str | Path], settings: MixSettings, seed: int) -> pd.DataFrame:
    """The training slices of a mix, as a table of MIX_COLUMNS.

    Shards are named in it as they are given here. Raises BadInput where the mix is not two whole numbers, where the
    training split has no slices of the unit, and where the shards hold fewer follow-ups than the ratio asks for.
    """
    parts = parse_mix(mix)
    rng = np.random.default_rng([seed, 0])
    every = real_slices(stack, settings.unit)
    if settings.mode == "replace":
        kept = round(len(every) * Fraction(parts.real, parts.real + parts.synthetic))
        wanted = len(every) - kept
    else:
        kept = len(every) if parts.real else 0
        wanted = round(len(every) * Fraction(parts.synthetic, parts.real or 1))
    real = every.iloc[np.sort(rng.permutation(len(every))[:kept])]
    if parts.synthetic == 0:
        return real.reset_index(drop=True)
    synthetic = synthetic_slices(stack, shards, settings.unit)
    # A stream of its own: what is kept of the real slices does not move the synthetic ones.
    synthetic = synthetic.iloc[np.random.default_rng([seed, 1]).permutation(len(synthetic))]
    if settings.unit == "patient":
        counted = real if kept else every
        synthetic = _within_patients(synthetic, counted, Fraction(wanted, len(counted)))
        wanted = len(synthetic)
    if len(synthetic) < wanted:
        raise BadInput(
            f"mix {mix} by {settings.unit}: expected at least {wanted} synthetic slices in the shards, "
            f"got {len(synthetic)}; plan more samples, or choose a smaller ratio"
        )
    log.info(
        "mix %s by %s, %s: %d real and %d of %d synthetic",
        mix,
        settings.unit,
        settings.mode,
        len(real),
        wanted,
        len(synthetic),
    )
    tables = [real, synthetic.iloc[:wanted]] if kept else [synthetic.iloc[:wanted]]
    return pd.concat(tables, ignore_index=True)


def load_mix(path: str | Path) -> pd.DataFrame:
    """Read a mix that was written as TSV; BadInput where it is not one or lists nothing."""
    return read_list(path, MIX_COLUMNS, "a list of slices", "write it with mix-slices", needs_rows=True)


def parse_mix(mix: str) -> Parts:
    """The numbers of `R-S`; BadInput where it is not two whole numbers, or both are 0."""
    real, _, synthetic = mix.partition("-")
    if not (real.isdecimal() and synthetic.isdecimal()) or int(real) + int(synthetic) == 0:
        raise BadInput(f"mix: expected real-synthetic such as 1-2, not both 0, got {mix!r}")
    return Parts(int(real), int(synthetic))


def real_slices(stack: Stack, unit: str) -> pd.DataFrame:
    """The training split's slices of a unit, in the stack's order; BadInput where there are none."""
    slices = stack.slices[stack.slices["split"] == "train"]
    if slices.empty:
        raise BadInput(
            f"{stack.folder}: expected slices of split train, got none; assign patients to it in the scan sheet"
        )
    if unit == "positive_slice":
        slices = slices[slices["change_voxels"] > 0]
        if slices.empty:
            raise BadInput(
                f"{stack.folder}: expected change in some slice of split train, but every change mask is empty; "
                "check the change masks, or count another unit than positive_slice"
            )
    columns = [column for column in MIX_COLUMNS if column in slices]
    return slices[columns].assign(kind="real", shard="", index=-1)[MIX_COLUMNS]


def synthetic_slices(stack: Stack, shards: Sequence[str | Path], unit: str) -> pd.DataFrame:
    """All follow-ups of the shards that count for a unit, in the shards' order; of volumes their slices."""
    tables = [pd.DataFrame(columns=MIX_COLUMNS)]
    for folder in shards:
        shard = load_slices(folder, stack)
        manifest = shard.manifest
        rows = manifest[["slice", "baseline_row"]].assign(
            kind="synthetic",
            subject=manifest["baseline_subject"],
            pair=-1,
            follow_up_row=-1,
            shard=str(folder),
            index=np.arange(len(manifest)),
        )
        if unit == "positive_slice":
            rows = rows[shard.read("change_mask", slice(None)).any(axis=(1, 2))]
        tables.append(rows[MIX_COLUMNS])
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)


def _within_patients(synthetic: pd.DataFrame, real: pd.DataFrame, ratio: Fraction) -> pd.DataFrame:
    """`ratio` times as many follow-ups as real slices of each patient; BadInput where a patient has too few."""
    parts = []
    for subject, n_real in real["subject"].value_counts(sort=False).items():
        share = round(n_real * ratio)
        own = synthetic[synthetic["subject"] == subject]
        if len(own) < share:
            raise BadInput(
                f"expected {share} synthetic follow-ups on the baseline of {subject}, got {len(own)}; "
                "plan more samples, or count slices instead of patients"
            )
        parts.append(own.iloc[:share])
    return pd.concat(parts)
