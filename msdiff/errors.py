"""The errors a user can mend; everything else is a bug and ends with a traceback.

MsdiffError             one line on stderr, exit code 2
├── BadInput            a file, sheet, image, mask or argument is not what it should be
├── BadSettings         a key or value of the configuration is unknown, missing or out of range
├── StaleCheckpoint     a checkpoint belongs to other settings or another list of scans
├── CannotWrite         the disk is full, or the folder cannot be written
└── ProcessLost         one of the processes of a training was killed

OutOfTime               not an error: a training stopped itself before its limit (exit code 75)
"""


class MsdiffError(Exception):
    """A fault the user can mend; the message says what was expected, what came and what to do."""


class BadInput(MsdiffError):
    """A file, sheet, image, mask or argument is not what it should be."""


class BadSettings(MsdiffError):
    """A key or value of the configuration is unknown, missing or out of range."""


class StaleCheckpoint(MsdiffError):
    """A checkpoint belongs to other settings or another list of scans."""


class CannotWrite(MsdiffError):
    """The disk is full, or the folder cannot be written; the old file stays."""


class ProcessLost(MsdiffError):
    """One of the processes of a training was killed, often for want of memory; run the same command again."""


class OutOfTime(Exception):
    """A training stopped itself before its time limit, or on a signal; run the same command again."""
