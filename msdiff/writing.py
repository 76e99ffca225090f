"""Files and folders appear whole or not at all: a temporary name beside the target, then a rename."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msdiff.errors import CannotWrite

# Without a number: numpy's own message for a short write.
DISK_FAULTS = {None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path with the same suffixes; on success it replaces `path`, on failure `path` stays.

    Raises CannotWrite where the disk is full or the folder cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it replaces the folder `path`, on failure `path` stays.

    Raises CannotWrite where the disk is full or the folder cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        if target.exists():
            shutil.rmtree(target)
        os.replace(temporary, target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _cannot_write(target: Path, error: OSError) -> OSError | CannotWrite:
    """CannotWrite for a fault of the disk or its permissions, the error itself for any other."""
    if error.errno not in DISK_FAULTS:
        return error
    return CannotWrite(
        f"cannot write {target}: {error.strerror or error}; free some space or choose another folder, "
        "and run the same command again (an older file is kept)"
    )
