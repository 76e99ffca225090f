"""Sentences on detectors of new lesions: by ratio, tested against real slices alone, by size of the lesion."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from msdiff.report.phrases import capital, count, estimate, limits, listed, number, overlap, percent, rests_on, spelled
from msdiff.report.run import Run
from msdiff.report.words import write

REAL_ONLY, SYNTHETIC_ONLY = "1:0", "0:1"
# An exact paired test of n patients that all change alike has two of 2 ** n signs on its side.
SIGNS = 2


def about_augmentation(run: Run) -> str:
    """Whether synthetic slices helped each detector, by its lesion F1."""
    ours = run.ours("augmentation")
    sentences = [
        sentence
        for (generator, architecture), group in ours.groupby(["generator", "architecture"])
        for sentence in _about_detector(run, str(generator), str(architecture), group.set_index("real_synthetic"))
    ]
    mixes = ours.loc[~ours["real_synthetic"].isin([REAL_ONLY, SYNTHETIC_ONLY]), "real_synthetic"].nunique()
    if mixes > 1:
        sentences.append("The best of several mixes looks better here than it would on new patients.")
    sentences.append(rests_on(ours, "test"))
    sentences += _about_papers(run.papers("augmentation"))
    return " ".join(sentences)


def detector(run: Run, generator: str, architecture: str) -> str:
    """What a detector is called at the start of a sentence: with the generator's name where there are several."""
    several = run.ours("augmentation")["generator"].nunique() > 1
    return capital(write(architecture)) + (f" with {write(generator)}" if several else "")


def best_mix(group: pd.DataFrame, metric: str) -> pd.Series | None:
    """The row of the mix of real and synthetic slices with the highest metric; None where there is none."""
    mixed = group[~group.index.isin([REAL_ONLY, SYNTHETIC_ONLY])].dropna(subset=[metric])
    return mixed.loc[mixed[metric].idxmax()] if len(mixed) else None


def verdict(run: Run, real: pd.Series, best: pd.Series, metric: str) -> str:
    """What a paired test, or else the intervals, say of a mix against real slices alone, as the rest of a sentence."""
    tests = run.ours("augmentation_tests")
    if len(tests):
        same = (tests[["generator", "architecture"]] == best[["generator", "architecture"]]).all(axis=1)
        found = tests[same & (tests["real_synthetic"] == best.name) & (tests["metric"] == metric)]
        if len(found) and not np.isnan(found.iloc[0]["p_holm"]):
            test = found.iloc[0]
            chance = "which chance may explain" if test["p_holm"] >= run.chance else "which chance would rarely give"
            p = f"p = {number(test['p_holm'])} after Holm's correction"
            # The table's score is pooled over patients, the test's a mean of their own.
            return f"; the patients' mean difference is {estimate(test, 'difference')} with {p}, {chance}"
    together = overlap(real, best, metric)
    if together is None:
        return "; there are no intervals, so that chance may explain it"
    return "; the intervals overlap, so that chance may explain it" if together else "; the intervals do not overlap"


def _about_detector(run: Run, generator: str, architecture: str, group: pd.DataFrame) -> Iterator[str]:
    name, scored = detector(run, generator, architecture), group.dropna(subset=["lesion_f1"])
    best = best_mix(scored, "lesion_f1")
    if REAL_ONLY not in scored.index or best is None:
        yield f"{name}: too few ratios with a lesion F1 to compare."
        return
    real = scored.loc[REAL_ONLY]
    if scored["lesion_f1"].max() == 0:
        yield f"{name} found no new lesion at any ratio."
        return
    if best["lesion_f1"] > real["lesion_f1"]:
        yield (
            f"{name}: lesion F1 was {estimate(real, 'lesion_f1')} with real slices alone and, of the mixes, highest at "
            f"{best.name} ({estimate(best, 'lesion_f1')}){verdict(run, real, best, 'lesion_f1')}."
        )
    else:
        relation = "exceeded" if best["lesion_f1"] == real["lesion_f1"] else "reached"
        yield (
            f"{name}: no mix with {write(generator)} {relation} the lesion F1 of real slices alone "
            f"({estimate(real, 'lesion_f1')}); the best was {best.name} ({estimate(best, 'lesion_f1')})."
        )
    if SYNTHETIC_ONLY in scored.index:
        alone = scored.loc[SYNTHETIC_ONLY]
        yield f"Synthetic slices alone gave {estimate(alone, 'lesion_f1')}{_against(alone, real, 'lesion_f1')}."
    dice = group.dropna(subset=["dice"])
    if REAL_ONLY in dice.index and len(dice) > 1:
        top = dice.loc[dice["dice"].idxmax()]
        beside = (
            "" if top.name == REAL_ONLY else f", against {number(dice.loc[REAL_ONLY, 'dice'])} with real slices alone"
        )
        yield f"Dice was highest at {top.name} ({number(top['dice'])}{beside})."


def _against(row: pd.Series, other: pd.Series, metric: str) -> str:
    if row[metric] == other[metric]:
        return ", the same as real slices alone"
    return f", {'more' if row[metric] > other[metric] else 'less'} than real slices alone"


def _about_papers(papers: pd.DataFrame) -> Iterator[str]:
    if papers.empty:
        return
    dice = papers.loc[papers["dice"].idxmax()]
    f1 = papers.loc[papers["lesion_f1"].idxmax()]
    yield (
        f"On the paper's own {count(dice['n'], 'test patient')} Dice was highest at {dice['real_synthetic']} "
        f"({number(dice['dice'])}) and lesion F1, from its counts, at {f1['real_synthetic']} "
        f"({number(f1['lesion_f1'])}); another cohort, so no target for ours."
    )


def about_augmentation_tests(run: Run) -> str:
    """Which differences from real slices alone stand after the correction."""
    ours = run.ours("augmentation_tests").dropna(subset=["p_holm"])
    if ours.empty:
        return "No comparison had patients enough for a test."
    found = [
        f"{write(row['metric'])} of the {write(row['architecture'])} at {row['real_synthetic']} "
        f"({'higher' if row['difference'] > 0 else 'lower'} by {number(abs(row['difference']))}, "
        f"p = {number(row['p_holm'])})"
        for _, row in ours[ours["p_holm"] < run.chance].iterrows()
    ]
    comparisons = count(len(ours), "comparison")
    if found:
        differ = "differs" if len(found) == 1 else "differ"
        sentence = (
            f"Of {comparisons} with real slices alone, {len(found)} {differ} after Holm's correction: {listed(found)}."
        )
    else:
        sentence = f"Of {comparisons} with real slices alone, none differs after Holm's correction."
    n = int(ours["n"].max())
    smallest = SIGNS / 2**n
    if smallest >= run.chance:
        least = f"an exact paired test cannot go below p = {number(smallest)}"
        sentence += f" With {count(n, 'patient')} {least}, so that none could."
    return f"{sentence} {rests_on(ours, 'test')}"


def about_lesion_sizes(run: Run) -> str:
    """How many of the smallest and of the largest new lesions each detector finds with real slices alone, and best."""
    ours = run.ours("lesion_sizes")
    sentences = []
    for (_, architecture), group in ours.groupby(["generator", "architecture"], sort=False):
        known = group[(group["real_synthetic"] == REAL_ONLY) & (group["n_lesions"] > 0)].dropna(
            subset=["lesion_recall"]
        )
        if len(known) < 2:
            continue
        parts = [
            f"{percent(row['lesion_recall'])}{_range(row)} of the {count(row['n_lesions'], 'new lesion')} "
            f"{size_in_words(str(row['size']))}"
            for row in (known.iloc[0], known.iloc[-1])
        ]
        sentences.append(f"With real slices alone the {write(str(architecture))} finds {listed(parts)}.")
    if not sentences:
        return "Too few lesions of different sizes to compare."
    return " ".join([*sentences, rests_on(ours, "test")])


def size_in_words(size: str) -> str:
    """A size of the table, in mm3, in words.

    >>> size_in_words("<14"), size_in_words("14-65"), size_in_words(">=65")
    ('below 14 mm³', 'of 14 to 65 mm³', 'of 65 mm³ and more')
    """
    unit = "mm\N{SUPERSCRIPT THREE}"
    if size.startswith("<"):
        return f"below {size[1:]} {unit}"
    if size.startswith(">="):
        return f"of {size[2:]} {unit} and more"
    return f"of {size.replace('-', ' to ')} {unit}"


def _range(row: pd.Series) -> str:
    low, high = limits(row, "lesion_recall")
    return "" if np.isnan([low, high]).any() else f" [{percent(low)}, {percent(high)}]"


def about_detectors(run: Run) -> Iterator[str]:
    """What was trained on the follow-ups, and tested on whom."""
    ours = run.ours("augmentation")
    if len(ours):
        networks = [write(str(name)) for name in ours["architecture"].unique()]
        ratios, seeds = list(dict.fromkeys(ours["real_synthetic"])), int(ours["seeds"].max())
        were, often = "was" if len(networks) == 1 else "were", "once" if seeds == 1 else f"{seeds} times"
        yield (
            f"{capital(spelled(len(networks), 'detector'))} of new lesions ({listed(networks)}) {were} trained on real "
            f"and synthetic slices at {listed(ratios)}, {often} each, and tested on the real scans of "
            f"{count(ours['n'].max(), 'test patient')}."
        )


def about_detection(run: Run) -> Iterator[str]:
    """The main numbers: real slices alone, and the best mix."""
    ours = run.ours("augmentation")
    if ours.empty:
        return
    for (generator, architecture), rows in ours.groupby(["generator", "architecture"]):
        group = rows.dropna(subset=["lesion_f1"]).set_index("real_synthetic")
        best = best_mix(group, "lesion_f1")
        if REAL_ONLY not in group.index or best is None:
            continue
        real = group.loc[REAL_ONLY]
        name = detector(run, str(generator), str(architecture))
        if best["lesion_f1"] > real["lesion_f1"]:
            yield (
                f"{name}: lesion F1 {estimate(real, 'lesion_f1')} with real slices alone, at best "
                f"{estimate(best, 'lesion_f1')} in a mix with synthetic ones ({best.name})"
                f"{verdict(run, real, best, 'lesion_f1')}."
            )
        else:
            yield (
                f"{name}: lesion F1 {estimate(real, 'lesion_f1')} with real slices alone, and no more in a mix with "
                f"synthetic ones (at best {estimate(best, 'lesion_f1')})."
            )


def about_limits(run: Run) -> Iterator[str]:
    """What one training each does not show."""
    ours = run.ours("augmentation")
    if len(ours) and ours["seeds"].max() == 1:
        yield "Each detector was trained once, so that differences between ratios may be differences between trainings."
