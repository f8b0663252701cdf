"""Files that only their owner may read, and what is said when they can't be kept."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

# What the owner of a disk can mend.
_MENDABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.ENOSPC}
# Of a disk, in bytes: a cloud with an update of this program takes a tenth. Where it is full, the engine tries again
# for minutes before it says so.
_ROOM = 64 * 2**20


def write_private(file: Path, text: str) -> None:
    """Whole or not at all, and readable by its owner only from the start."""
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
    unfinished.replace(file)


def make_folder(folder: Path, refusal: type[Exception]) -> None:
    """Makes a folder for its owner, if need be; raises a `refusal` where it can't, or the disk is all but full."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unkept(folder, error, refusal) from error
    if (free := shutil.disk_usage(folder).free) < _ROOM:
        raise refusal(
            f"{free // 2**20} MB are free where the state is kept, in {folder}, and {_ROOM // 2**20} are needed: "
            "make room, or name another folder with --state"
        )


@contextmanager
def kept_in(folder: Path, refusal: type[Exception]) -> Generator[None]:
    """Raises a `refusal`, one sentence with the remedy, where the disk refuses what is to be written to `folder`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        raise _unkept(folder, error, refusal) from error


def _unkept(folder: Path, error: OSError, refusal: type[Exception]) -> Exception:
    return refusal(
        f"the state can't be kept in {folder}: {error.strerror}: make room and make it writable, "
        "or name another folder with --state"
    )
