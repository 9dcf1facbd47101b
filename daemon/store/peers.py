"""What processes on one database file tell each other through the file system: who lives, and that there is news.

Both in one folder next to the database. A process holds a lock on its file as long as it lives, however it ends; and
it reads a FIFO, into which others write a byte when they have committed something that it may wait for.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

from daemon.store.files import make_fifo, open_file

_DRAIN_BYTES = 65_536


class Peers:
    """The other processes on a database file, and this one among them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[str, int] = {}
        self._name = f"{uuid4().hex}.fifo"
        self._fifo: int | None = None

    # --- who lives ---
    def hold(self, owner: str) -> None:
        """Show that `owner` lives, from now until `let_go` or the end of this process; does nothing if it shows."""
        if owner in self._locks:
            return
        path = self._lock_path(owner)
        while True:
            lock = open_file(path)
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Somebody who took the file for stale before it was locked may have removed it: then it is made again.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), path.stat()):
                    self._locks[owner] = lock
                    return
            os.close(lock)

    def let_go(self, owner: str) -> None:
        """Show that `owner` does not live any more."""
        lock = self._locks.pop(owner, None)
        if lock is not None:
            self._lock_path(owner).unlink(missing_ok=True)
            os.close(lock)

    def lives(self, owner: str) -> bool:
        """Tell whether a process holds the lock of `owner`; remove a lock that nobody holds."""
        return owner in self._locks or self._is_held(self._lock_path(owner))

    def sweep(self) -> None:
        """Remove what processes that died left behind."""
        for path in self._folder.glob("*.lock"):
            self._is_held(path)

    def _lock_path(self, owner: str) -> Path:
        return self._folder / f"{quote(owner, safe='')}.lock"

    @staticmethod
    def _is_held(path: Path) -> bool:
        try:
            lock = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        except PermissionError:
            return True  # Root has just made it, and hands it over in a moment.
        try:
            # Shared: two processes that look at the same time must not take each other for the owner.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            path.unlink(missing_ok=True)
            return False
        finally:
            os.close(lock)

    # --- news ---
    def listen(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
        """Call back in the loop when another process has news; does nothing if it does so already."""
        if self._fifo is not None:
            return
        unready = self._folder / f"{self._name}.new"
        make_fifo(unready)
        # Open for writing too, so that it never ends; and visible only once it is open, since one that nobody reads
        # is taken for stale.
        self._fifo = os.open(unready, os.O_RDWR | os.O_NONBLOCK)
        unready.rename(self._folder / self._name)
        loop.add_reader(self._fifo, self._drain, self._fifo, callback)

    def tell(self) -> None:
        """Tell the others that there is news; remove what those that died left behind."""
        with os.scandir(self._folder) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            if name.endswith(".fifo") and name != self._name:
                _write_byte(self._folder / name)

    def close(self) -> None:
        """Let go of everything that this process holds."""
        for owner in list(self._locks):
            self.let_go(owner)
        if self._fifo is not None:
            asyncio.get_running_loop().remove_reader(self._fifo)
            (self._folder / self._name).unlink(missing_ok=True)
            os.close(self._fifo)
            self._fifo = None

    @staticmethod
    def _drain(fifo: int, callback: Callable[[], object]) -> None:
        with suppress(BlockingIOError):
            os.read(fifo, _DRAIN_BYTES)
        callback()


def _write_byte(path: Path) -> None:
    try:
        fifo = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    except OSError:  # ENXIO: nobody reads it any more
        path.unlink(missing_ok=True)
        return
    try:
        os.write(fifo, b"\n")
    except (BlockingIOError, BrokenPipeError):
        pass  # It is full of news already, or its reader has just gone.
    finally:
        os.close(fifo)
