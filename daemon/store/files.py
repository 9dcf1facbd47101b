"""Files and folders that the processes on one database share.

What root makes belongs to the owner of the folder it lies in, as it does with SQLite's own files: a command that root
gives must not lock out the service whose folder it is. Only what was just made is handed over, and a link is never
followed to it, or whoever owns the folder could have root give away any file.
"""

import os
from pathlib import Path

_ROOM_BYTES = 1024 * 1024


def make_folder(path: Path) -> None:
    """Create a folder if it is missing, for its owner alone."""
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        return
    _hand_over(path)


def make_fifo(path: Path) -> None:
    """Create a FIFO, for its owner alone."""
    os.mkfifo(path, 0o600)
    _hand_over(path)


def open_file(path: Path) -> int:
    """Open a file for reading and writing, created for its owner alone if it is missing."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    _hand_over(path)
    return file


def _hand_over(path: Path) -> None:
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def has_room(folder: Path) -> bool:
    """Tell whether the disk of a folder takes another mebibyte; that is tried out, since quotas show nowhere else."""
    try:
        file = open_file(folder / "room")
        try:
            return os.write(file, bytes(_ROOM_BYTES)) == _ROOM_BYTES
        finally:
            os.ftruncate(file, 0)
            os.close(file)
    except OSError:
        return False
