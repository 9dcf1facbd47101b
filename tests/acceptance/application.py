"""An application in a folder of its own, and its daemon as a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.acceptance.process import DaemonProcess

SHIPPED = Path(__file__).parents[2]
LABORATORY = Path(__file__).parent / "laboratory"
PACKAGES = ("workflows", "subscribers", "jobs")


class Application:
    """An application in a folder of its own, and what a test adds to it.

    Args:
        folder: An empty one, or one that is made.
        settings: Dotted keys of config.toml; the API takes any free port unless they say which.
        parts: Folders whose packages are copied into it, one over the other.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any] | None = None, *, parts: Sequence[Path] = (SHIPPED,)
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for source in (part / package for part in parts for package in PACKAGES):
            if source.is_dir():
                caches = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, folder / source.name, dirs_exist_ok=True, ignore=caches)
        self.settings: dict[str, Any] = {"app.name": "shop", "http.port": 0, **(settings or {})}
        if LABORATORY in parts:
            self.settings |= {"options.enter-order.ledger": str(self.ledger_path)}
        self.configure()

    # --- what it is made of ---

    def configure(self, changes: Mapping[str, Any] | None = None) -> None:
        """Write config.toml, with more or other dotted keys than before."""
        self.settings |= changes or {}
        # A JSON text, number, list or truth is TOML, too.
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in self.settings.items()]
        self.config_path.write_text("".join(lines))

    def add(self, path: str, source: str) -> None:
        """Add a module, or change one."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)

    @property
    def name(self) -> str:
        """The application's name."""
        return str(self.settings["app.name"])

    @property
    def config_path(self) -> Path:
        return self.folder / "config.toml"

    @property
    def ledger_path(self) -> Path:
        return self.folder / "ledger.txt"

    def ledger(self) -> list[tuple[str, str, str]]:
        """Return the effects of the laboratory's steps: step, order, idempotency key."""
        lines = self.ledger_path.read_text().splitlines() if self.ledger_path.exists() else []
        return [(step, order, key) for step, order, key in (line.split() for line in lines)]

    # --- what runs it ---

    def command(self, *arguments: str) -> list[str]:
        """Return a command of `sagad` on this application."""
        return [sys.executable, "-m", "daemon", "--config", str(self.config_path), *arguments]

    @contextmanager
    def daemon(self, *, wait: bool = True, **environment: str) -> Iterator[DaemonProcess]:
        """Run the daemon inside the block, ready from its beginning unless `wait` is false."""
        process = DaemonProcess(
            self.command("run"),
            cwd=self.folder,
            env={**os.environ, **environment},
            token=self.settings.get("http.token"),
        )
        try:
            if wait:
                process.await_ready()
            yield process
        finally:
            process.end()
        assert not process.stray, "stdout has nothing but JSON lines"

    def sagad(self, *arguments: str, stdin: str = "", status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which has this exit status."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stderr or done.stdout
        return done

    def sagad_json(self, *arguments: str) -> Any:
        """Run a command with `--json`, and return what it printed."""
        return json.loads(self.sagad(*arguments, "--json").stdout)
