"""Programs of this machine, installed from the system's packages where there are none and that is possible."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

POLICY = Path("/usr/sbin/policy-rc.d")
_ALONE = Path(tempfile.gettempdir(), "sagad-tests-install.lock")  # of the processes that share the tests, one installs


def find_or_install(package: str, find: Callable[[], Path | None]) -> Path | None:
    """Return what `find` finds, after installing `package` if need be; None if it cannot be had here.

    Only root on a Debian installs. The package's own service is neither started nor enabled.
    """
    if found := find():
        return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    with _ALONE.open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        return find() or _install(package, find)


def _install(package: str, find: Callable[[], Path | None]) -> Path | None:
    print(f"sagad: installing {package} for the tests (once; a minute or so)", file=sys.stderr)  # noqa: T201 - it takes long
    apt_get = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with no_service_starts():
        for step in (["update"], ["install", "-y", "--no-install-recommends", package]):
            done = subprocess.run(
                [*apt_get, *step], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                print(done.stderr, file=sys.stderr)  # noqa: T201 - else nobody knows why
    if shutil.which("systemctl"):
        subprocess.run(["systemctl", "disable", "--quiet", package], capture_output=True, check=False)
    return find()


@contextmanager
def no_service_starts() -> Iterator[None]:
    """Keep packages from starting their service while they are installed, by Debian's own means (invoke-rc.d(8))."""
    if POLICY.exists():  # the machine has a policy already, and it stays as it is
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
