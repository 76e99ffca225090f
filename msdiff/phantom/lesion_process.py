"""The lesion process of a patient, without images: what appears, enlarges, shrinks and enhances, where and when.

A course is a set of foci. A focus is an irregular ellipsoid that appears at one session and stays; it may shrink. A new
lesion is a focus of its own; an enlargement is a focus at the edge of an older lesion that does not shrink. So at every
session

    lesion mask    = all foci that have appeared
    change mask    = foci that appeared at this session, outside the lesion mask of the session before it
    NET2 count     = foci that appeared at this session (new or enlarging lesions, table 1 of Favero et al. 2025)
    enhancing mask = a share of the foci that appeared at this session

Foci of different lesions keep apart, so that components of the masks count what the process counts. A share of
the new lesions sits near a lesion that enhanced at the session before: Gd shows where disease is active.

Positions are in RAS+ mm of the atlas. Every patient has random numbers of its own, and every session within it:
a patient does not depend on how many others are simulated, nor a session on whether later ones are.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.phantom.activity import simulate_counts
from msdiff.phantom.anatomy import PRIOR_GRID_MM, lesion_places
from msdiff.phantom.settings import PhantomSettings, roster, session_names

# Tries for a place that keeps apart from all others; of none, the one with most room is taken.
CANDIDATES = 256
# A lobe's centre lies at this fraction of its lesion's radius from the centre, and has this fraction of its radius.
LOBE_OFFSET, LOBE_RADIUS = 0.9, 0.85
WAVES = 3


class Course(NamedTuple):
    """A patient's foci (F,), in order of appearance, over sessions (S,).

    Attributes
    ----------
    onset : session at which a focus appears (F,)
    lesion : number of the lesion it belongs to (F,); new lesions have their own
    region : periventricular, deep, juxtacortical or cortical (F,)
    centre_mm : (F, 3), RAS+ mm of the atlas
    radius_mm : (F, S), 0 before the onset
    axes : semi-axes (F, 3, 3) as columns, relative to the radius, with determinant 1
    wave : (F, WAVES, 4), directions and phases of the outline's irregularity
    severity : (F,) in [0, 1], how far intensities leave white matter
    enhancing : (F, S) bool
    """

    onset: NDArray[np.int64]
    lesion: NDArray[np.int64]
    region: NDArray[np.str_]
    centre_mm: NDArray[np.float64]
    radius_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    wave: NDArray[np.float64]
    severity: NDArray[np.float64]
    enhancing: NDArray[np.bool_]


class Foci(NamedTuple):
    """Foci of one session while a course grows; fields as in Course, `radius_mm` (F,) at the onset."""

    onset: NDArray[np.int64]
    lesion: NDArray[np.int64]
    region: NDArray[np.str_]
    centre_mm: NDArray[np.float64]
    radius_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    wave: NDArray[np.float64]
    severity: NDArray[np.float64]
    enhancing: NDArray[np.bool_]
    factor: NDArray[np.float64]


def simulate_course(settings: PhantomSettings, subject: str) -> Course:
    """The course of one patient of the roster. Raises BadInput where the roster has no such patient."""
    arms = roster(settings)
    if subject not in arms:
        raise BadInput(f"{subject}: no such patient; this cohort has sub-0001 to sub-{len(arms):04d}")
    return _course(settings, int(subject[4:]), arms[subject])


def simulate_cohort(settings: PhantomSettings) -> pd.DataFrame:
    """One row per patient and session of the whole cohort, without images.

    Columns: subject, arm, session, lesions (standing so far), net2 (new or enlarging; 0 at the first session),
    enlarging, enhancing, and net2 by region.
    """
    rows = []
    for subject, arm in roster(settings).items():
        course = _course(settings, int(subject[4:]), arm)
        for index, session in enumerate(session_names(settings)):
            fresh = (course.onset == index) & (index > 0)
            enlarging = fresh & np.isin(course.lesion, course.lesion[course.onset < index])
            row = {
                "subject": subject,
                "arm": arm,
                "session": session,
                "lesions": len(np.unique(course.lesion[course.onset <= index])),
                "net2": int(fresh.sum()),
                "enlarging": int(enlarging.sum()),
                "enhancing": int(course.enhancing[:, index].sum()),
            }
            rows.append(row | {name: int((fresh & (course.region == name)).sum()) for name in lesion_places()})
    return pd.DataFrame(rows)


def _course(settings: PhantomSettings, number: int, arm: str) -> Course:
    counts = simulate_counts(settings, arm, np.random.default_rng([settings.seed, number, 0]))
    grown: list[Foci] = []
    for session, count in enumerate(counts):
        rng = np.random.default_rng([settings.seed, number, 1, session])
        grown.append(_new_foci(settings, session, int(count), grown, rng))
    sessions = len(counts)
    joined = Foci(*(np.concatenate(parts) for parts in zip(*grown, strict=True)))
    radius = np.zeros((len(joined.onset), sessions))
    enhancing = np.zeros((len(joined.onset), sessions), dtype=bool)
    for session in range(sessions):
        age = session - joined.onset
        radius[:, session] = np.where(age >= 0, joined.radius_mm * joined.factor ** np.maximum(age, 0), 0)
        enhancing[:, session] = joined.enhancing & (age == 0)
    kept = joined._asdict()
    kept.pop("factor")
    return Course(**(kept | {"radius_mm": radius, "enhancing": enhancing}))


def _new_foci(settings: PhantomSettings, session: int, count: int, grown: list[Foci], rng: np.random.Generator) -> Foci:
    """Sample the foci that appear at one session."""
    lesions = settings.lesions
    names = list(lesions.region_share)
    region = rng.choice(np.array(names), size=count, p=[lesions.region_share[name] for name in names])
    spread = np.exp(rng.normal(0.0, lesions.radius_spread, count))
    radius = np.clip(lesions.radius_mm * spread, *lesions.radius_limits_mm)
    axes = _axes(count, lesions.elongation, rng)
    shrinking = rng.random(count) < lesions.shrinking_share
    enlarging = rng.random(count) < lesions.enlarging_share
    near = rng.random(count) < lesions.near_enhancing_share
    lesion = np.empty(count, dtype=np.int64)
    centre = np.empty((count, 3))
    older = Foci(*(np.concatenate(parts) for parts in zip(*grown, strict=True))) if grown else None
    first_lesion = 0 if older is None else int(older.lesion.max(initial=-1)) + 1
    parents = np.empty(0, dtype=np.int64) if older is None else rng.permutation(_steady(older))
    enhancing_before = np.empty((0, 3)) if not grown else grown[-1].centre_mm[grown[-1].enhancing]
    room = _Room(older)
    for focus in range(count):
        if older is not None and enlarging[focus] and len(parents):
            parent, parents = parents[0], parents[1:]
            lesion[focus], region[focus] = older.lesion[parent], older.region[parent]
            radius[focus] = older.radius_mm[parent] * LOBE_RADIUS
            axes[focus], shrinking[focus] = older.axes[parent], False
            directions = rng.standard_normal((CANDIDATES, 3))
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
            shifts = directions @ older.axes[parent].T * older.radius_mm[parent] * LOBE_OFFSET
            candidates = older.centre_mm[parent] + shifts
            goal = None
        else:
            lesion[focus], first_lesion = first_lesion, first_lesion + 1
            places = lesion_places()[region[focus]]
            jitter = rng.uniform(-0.5, 0.5, (CANDIDATES, 3)) * PRIOR_GRID_MM
            candidates = places[rng.integers(len(places), size=CANDIDATES)] + jitter
            goal = (
                enhancing_before[rng.integers(len(enhancing_before))] if near[focus] and len(enhancing_before) else None
            )
        extent = radius[focus] * np.linalg.norm(axes[focus], axis=0).max()
        clearance = room.clearance(candidates, extent, int(lesion[focus]))
        centre[focus] = candidates[_choose(candidates, clearance, lesions.gap_mm, goal)]
        room.add(centre[focus], extent, int(lesion[focus]))
    return Foci(
        onset=np.full(count, session, dtype=np.int64),
        lesion=lesion,
        region=region,
        centre_mm=centre,
        radius_mm=radius,
        axes=axes,
        wave=np.concatenate([rng.standard_normal((count, WAVES, 3)), rng.uniform(0, 2 * np.pi, (count, WAVES, 1))], 2),
        severity=rng.random(count),
        enhancing=rng.random(count) < lesions.enhancing_share,
        factor=np.where(shrinking, lesions.shrinkage, 1.0),
    )


def _choose(
    candidates: NDArray[np.float64], clearance: NDArray[np.float64], gap_mm: float, goal: NDArray[np.float64] | None
) -> int:
    """First candidate with room (the nearest one to a goal, when there is one), or the one with most room."""
    free = np.flatnonzero(clearance >= gap_mm)
    if not len(free):
        return int(np.argmax(clearance))
    if goal is None:
        return int(free[0])
    return int(free[np.argmin(np.linalg.norm(candidates[free] - goal, axis=1))])


class _Room:
    """The balls that lesions take up: tells how far a candidate stays from those of other lesions."""

    def __init__(self, older: Foci | None) -> None:
        self.centres: list[NDArray[np.float64]] = []
        self.extents: list[float] = []
        self.lesions: list[int] = []
        if older is not None:
            self.centres = list(older.centre_mm)
            self.extents = list(older.radius_mm * np.linalg.norm(older.axes, axis=1).max(axis=1))
            self.lesions = older.lesion.tolist()

    def add(self, centre: NDArray[np.float64], extent: float, lesion: int) -> None:
        """Take up room."""
        self.centres.append(centre)
        self.extents.append(extent)
        self.lesions.append(lesion)

    def clearance(self, candidates: NDArray[np.float64], extent: float, lesion: int) -> NDArray[np.float64]:
        """Distance in mm (N,) from a ball at each candidate to the nearest ball of another lesion."""
        other = np.array(self.lesions, dtype=np.int64) != lesion
        if not other.any():
            return np.full(len(candidates), np.inf)
        centres, extents = np.array(self.centres)[other], np.array(self.extents)[other]
        squared = (candidates**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * candidates @ centres.T
        return np.asarray((np.sqrt(np.maximum(squared, 0)) - extents).min(axis=1) - extent)


def _steady(foci: Foci) -> NDArray[np.int64]:
    """Index of the first focus of each lesion that does not shrink: these may enlarge."""
    first = np.unique(foci.lesion, return_index=True)[1]
    return np.asarray(first[foci.factor[first] == 1], dtype=np.int64)


def _axes(count: int, elongation: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random orientations (count, 3, 3) times semi-axes of product 1, at most `elongation` apart by ratio."""
    turned = np.linalg.qr(rng.standard_normal((count, 3, 3)))[0]
    logs = rng.uniform(-0.5, 0.5, (count, 3)) * np.log(elongation)
    semi = np.exp(logs - logs.mean(axis=1, keepdims=True))
    return np.asarray(turned * semi[:, None, :])
