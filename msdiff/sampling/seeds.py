"""The seed of every draw, from what the draw is of: not from its place in a table, a shard or a batch."""

from msdiff.settings import digest

# Of the digest: 60 bits, so that no two draws of a run are alike, and a table holds the number.
DIGITS = 15


def seed_of_draw(seed: int, subject: str, arm: str | None, draw: int) -> int:
    """Seed in [0, 2^60) of a patient's draw (0, 1, ...) under an arm, from the run's seed.

    With None for the arm, a draw starts from the same noise under every arm: differences are due to treatment.
    More draws of a patient leave the first ones as they are.
    """
    return int(digest(seed, subject, arm, draw)[:DIGITS], 16)
