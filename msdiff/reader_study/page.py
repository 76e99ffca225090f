"""The page of a reader study: HTML with styles, script and pictures in it, and a key that never goes with it.

The page opens from disk, asks for nothing outside itself (its content policy forbids it), and holds neither a case's
kind nor names of patients, sessions or files. Baseline and follow-up are cut to the brain of both sessions, so that the
edge of the brain tells nothing, and to one box for all cases, so that all have one scale.

The digest of the page's data names the study: it stands in the page, in the key and in every answer.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from msdiff.errors import BadInput
from msdiff.images import BACKGROUND
from msdiff.reader_study.design import REAL, StudyExportSettings, plan_cases
from msdiff.reader_study.pictures import as_seen, box_of, packed_image, packed_mask
from msdiff.reader_study.questions import QUESTIONS
from msdiff.sampling.shards import Shard
from msdiff.stack.reading import Stack

HERE = Path(__file__).parent
KEY_COLUMNS = ["study", "case", "kind", "generator", "subject", "baseline_row", "follow_up_row", "slice", "repeat_of"]
# Around the brain, of what the page shows.
MARGIN_PIXELS = 2


class Study(NamedTuple):
    """A page for the readers (HTML), and the key (KEY_COLUMNS) for who made it."""

    page: str
    key: pd.DataFrame


def make_study(stack: Stack, shards: Sequence[Shard], settings: StudyExportSettings) -> Study:
    """The study of the shards' held-out samples.

    Raises BadInput where a sample has no real follow-up or is not of the stack, or where no slice is left to show.
    """
    samples = _samples(shards, stack)
    cases = plan_cases(samples, float(stack.grid.spacing_mm[2]), settings)
    data = _page_data(stack, shards, samples, cases, settings)
    # Not of digits alone: a spreadsheet would make a number of it.
    study = "study-" + hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
    return Study(_html(study, data), cases.assign(study=study)[KEY_COLUMNS])


def _samples(shards: Sequence[Shard], stack: Stack) -> pd.DataFrame:
    """All samples: generator, where their slice lies in the stack, where they lie in the shards, area of change."""
    frames = []
    for number, shard in enumerate(shards):
        if (shard.manifest["follow_up_row"] < 0).any():
            raise BadInput("shards: expected samples with a real follow-up, of purpose held_out, got one without")
        expected = stack.grid.shape[1::-1]
        if shard.shape("follow_up") != expected:
            raise BadInput(f"shards: expected slices of the stack's size {expected}, got {shard.shape('follow_up')}")
        pixel_mm2 = float(np.prod(stack.grid.spacing_mm[:2]))
        voxels = shard.read("change_mask", slice(None)).sum(axis=(1, 2))
        columns = {"baseline_subject": "subject"}
        frame = shard.manifest.rename(columns=columns)[
            ["generator", "subject", "baseline_row", "follow_up_row", "slice"]
        ]
        frames.append(frame.assign(shard=number, place=np.arange(len(frame)), change_mm2=voxels * pixel_mm2))
    samples = pd.concat(frames, ignore_index=True)
    if samples.empty:
        raise BadInput("shards: expected at least one sample, got none; sample held-out patients first")
    return samples


def _page_data(
    stack: Stack,
    shards: Sequence[Shard],
    samples: pd.DataFrame,
    cases: pd.DataFrame,
    settings: StudyExportSettings,
) -> dict[str, Any]:
    """What the script of the page reads; nothing in it depends on a case's kind but the pixels."""
    places = samples.set_index(["generator", "baseline_row", "follow_up_row", "slice"])[["shard", "place"]]
    pictures: list[tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]] = []
    inside = []
    for case in cases.to_dict("records"):
        rows, number = (case["baseline_row"], case["follow_up_row"]), case["slice"]
        brain = np.logical_and(*(stack.read("brain_mask", row, number) > 0 for row in rows))
        baseline, follow_up = (stack.read(settings.contrast, row, number).astype(np.float32) for row in rows)
        if case["kind"] != REAL:
            shard, place = places.loc[(case["generator"], *rows, number)]
            follow_up = shards[shard].read("follow_up", int(place))
        before, after = (np.where(brain, image, BACKGROUND) for image in (baseline, follow_up))
        pictures.append((before, after, stack.read("change_mask", rows[1], number) > 0))
        inside.append(brain | pictures[-1][2])
    box = box_of(np.stack(inside), MARGIN_PIXELS)

    def seen(image: NDArray[Any]) -> NDArray[Any]:
        return as_seen(image[box], settings.convention)

    return {
        "questions": [{"name": q.name, "title": q.title} for q in QUESTIONS],
        "size": [part.stop - part.start for part in reversed(box)],
        "spacing_mm": [float(side) for side in stack.grid.spacing_mm[:2]],
        "sides": ["R", "L"] if settings.convention == "radiological" else ["L", "R"],
        "window": [(end + 1) / 2 for end in settings.window],
        "cases": [
            {
                "baseline": packed_image(seen(baseline)),
                "follow_up": packed_image(seen(follow_up)),
                "mask": packed_mask(seen(mask)),
            }
            for baseline, follow_up, mask in pictures
        ],
    }


def _html(study: str, data: dict[str, Any]) -> str:
    """The page, with a content policy that lets its own script and styles run and nothing be fetched."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    script = "".join((HERE / name).read_text(encoding="utf-8") for name in ("viewer.js", "page.js"))
    style = (HERE / "page.css").read_text(encoding="utf-8")
    # Inside a script element "<" could end it.
    text = json.dumps({"study": study, **data}, sort_keys=True).replace("<", "\\u003c")
    return environment.get_template("page.html.j2").render(
        cases=len(data["cases"]),
        questions=QUESTIONS,
        script=Markup(script),
        style=Markup(style),
        script_hash=_policy_hash(script),
        style_hash=_policy_hash(style),
        data=Markup(text),
    )


def _policy_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
