"""Settings of the phantom: the section `phantom` of a cohort in the config."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from msdiff.settings import Settings

Region = Literal["periventricular", "deep", "juxtacortical", "cortical"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Span = tuple[Positive, Positive]


class ArmActivity(Settings):
    """New or enlarging lesions (NET2) of an arm at each follow-up, relative to the session before it."""

    mean_count: tuple[Positive, ...]
    active_percent: tuple[Annotated[float, Field(gt=0, lt=100)], ...]


class BaselineCount(Settings):
    """Number of lesions at the first session: a truncated negative binomial."""

    mean: Positive
    dispersion: Positive
    limit: Annotated[int, Field(ge=1)]


class LesionProcessSettings(Settings):
    """The lesion process: how many, where, how large, how they change."""

    count_dispersion: Positive
    count_limit: Annotated[int, Field(ge=1)]
    persistence: Share
    baseline: BaselineCount
    region_share: dict[Region, Share]
    radius_mm: Positive
    radius_spread: NotNegative
    radius_limits_mm: Span
    elongation: Annotated[float, Field(ge=1)]
    gap_mm: NotNegative
    enlarging_share: Share
    shrinking_share: Share
    shrinkage: Annotated[float, Field(gt=0, le=1)]
    enhancing_share: Share
    near_enhancing_share: Share
    edge_mm: NotNegative


class AnatomySettings(Settings):
    """How patients differ in shape."""

    working_mm: Annotated[int, Field(ge=1, le=4)]
    warp_mm: NotNegative
    warp_smoothness_mm: Positive
    size_percent: NotNegative


class Tissues(Settings):
    """Raw intensity of each tissue, and of a lesion as a multiple of white matter (from, to)."""

    csf: NotNegative
    grey_matter: NotNegative
    white_matter: NotNegative
    bone: NotNegative
    marrow: NotNegative
    fat: NotNegative
    muscle: NotNegative
    lesion: Span


class ScannerSettings(Settings):
    """How a session is scanned."""

    spacing_mm: tuple[Positive, Positive, Positive]
    spacing_variation_percent: NotNegative
    field_of_view_mm: tuple[Positive, Positive, Positive]
    rotation_degrees: NotNegative
    translation_mm: NotNegative
    tilt_degrees: NotNegative
    movement_degrees: NotNegative
    movement_mm: NotNegative
    bias_percent: NotNegative
    noise_percent: NotNegative
    gain_percent: NotNegative
    contrast_percent: NotNegative
    tissues: dict[str, Tissues]


class PhantomSettings(Settings):
    """The embedded cohort: who is in it, what happens to them, how they are scanned.

    space               scanner: as scanned; template: on the common grid, as perfect preprocessing would leave it
    """

    seed: Annotated[int, Field(ge=0)]
    arms: dict[str, Annotated[int, Field(ge=0)]]
    active_only: bool
    sessions: Annotated[tuple[Annotated[str, Field(pattern="^w[0-9]{3}$")], ...], Field(min_length=1)]
    space: Literal["scanner", "template"]
    activity: dict[str, ArmActivity]
    lesions: LesionProcessSettings
    anatomy: AnatomySettings
    scanner: ScannerSettings

    @property
    def weeks(self) -> tuple[int, ...]:
        """Weeks of the sessions since the first treatment: 48 for w048."""
        return tuple(int(session[1:]) for session in self.sessions)

    @model_validator(mode="after")
    def _agrees(self) -> "PhantomSettings":
        follow_ups = len(self.sessions) - 1
        if list(self.sessions) != sorted(set(self.sessions)):
            raise ValueError(f"sessions: expected each later than the one before, got {list(self.sessions)}")
        if abs(sum(self.lesions.region_share.values()) - 1) > 1e-6:
            raise ValueError("lesions.region_share: expected shares that sum to 1")
        if self.lesions.radius_limits_mm[0] > self.lesions.radius_limits_mm[1]:
            raise ValueError("lesions.radius_limits_mm: expected the smaller first")
        if self.active_only and follow_ups < 1:
            raise ValueError("active_only: expected a follow-up session, got one session")
        for arm in self.arms:
            if arm not in self.activity:
                raise ValueError(f"arms: {arm!r} has no entry in activity ({', '.join(self.activity)})")
            known = self.activity[arm]
            if min(len(known.mean_count), len(known.active_percent)) < follow_ups:
                raise ValueError(f"activity.{arm}: expected numbers for {follow_ups} follow-ups")
            for mean, percent in zip(known.mean_count, known.active_percent, strict=False):
                if not 1 < mean / (percent / 100) < self.lesions.count_limit:
                    raise ValueError(
                        f"activity.{arm}: expected between 1 and lesions.count_limit lesions per active patient, "
                        f"got {mean / (percent / 100):.2f}"
                    )
        if not 1 < self.lesions.baseline.mean < self.lesions.baseline.limit:
            raise ValueError("lesions.baseline.mean: expected a number between 1 and the limit")
        return self


def session_names(settings: PhantomSettings) -> list[str]:
    """Names of the sessions, such as ses-w000 and ses-w048."""
    return [f"ses-{session}" for session in settings.sessions]


def roster(settings: PhantomSettings) -> dict[str, str]:
    """Arm of every patient, sub-0001 onwards in the order of the arms."""
    arms = [arm for arm, patients in settings.arms.items() for _ in range(patients)]
    return {f"sub-{number:04d}": arm for number, arm in enumerate(arms, start=1)}
