"""What a reader is asked of every case: the three Likert questions of Long-MS-Diff (Mathur et al. 2025, section 3).

The paper names the questions only; wording and anchors are this project's.
"""

from typing import NamedTuple

SCORES = (1, 2, 3, 4, 5)


class Question(NamedTuple):
    """A question: its name in tables, its title, its text, and for 1 to 5 a word and a sentence."""

    name: str
    title: str
    text: str
    words: tuple[str, str, str, str, str]
    anchors: tuple[str, str, str, str, str]


QUESTIONS = (
    Question(
        "quality",
        "Image quality",
        "How good is the follow-up as an image?",
        ("unusable", "poor", "fair", "good", "excellent"),
        (
            "Cannot be read: noise, blur or artefacts hide the anatomy.",
            "Hard to read: a diagnosis would be unsafe.",
            "Can be read, with clear flaws.",
            "Small flaws that do not disturb the reading.",
            "No flaw, as good as the baseline or better.",
        ),
    ),
    Question(
        "plausibility",
        "Plausibility",
        "Could it be a later scan of this patient?",
        ("impossible", "unlikely", "possible", "likely", "convincing"),
        (
            "Another brain, or anatomy and lesions that cannot be.",
            "Much that does not fit this patient or multiple sclerosis.",
            "Some of it does not fit; it could still be.",
            "Little that one would question.",
            "The same patient, later; nothing to question.",
        ),
    ),
    Question(
        "adherence",
        "Lesion adherence",
        "Does the change agree with the outline?",
        ("not at all", "slightly", "partly", "mostly", "fully"),
        (
            "No change inside the outline, or only elsewhere.",
            "A trace of change inside, or most of it elsewhere.",
            "Change inside, but place, size or number differ clearly.",
            "Small differences in place, size or shape.",
            "Change inside, in its place, size and shape; none elsewhere.",
        ),
    ),
)
NAMES = [question.name for question in QUESTIONS]
