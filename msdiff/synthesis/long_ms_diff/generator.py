"""Long-MS-Diff as a generator, see msdiff.synthesis."""

from msdiff.synthesis.long_ms_diff.follow_ups import load_generator as sample
from msdiff.synthesis.long_ms_diff.task import train_generator as train

__all__ = ["sample", "train"]
