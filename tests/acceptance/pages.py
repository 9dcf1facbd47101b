"""The README and the documentation as what they are: modules, commands, and what these print."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from daemon import Config
from tests.acceptance.application import SHIPPED, Application

if TYPE_CHECKING:
    from tests.acceptance.process import DaemonProcess

PAGES = [SHIPPED / "README.md", *sorted((SHIPPED / "docs").rglob("*.md"))]

_BLOCK = re.compile(
    r"(?:<!-- file: (?P<shipped>\S+) -->\n)?^```(?P<language>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_LOG_LINE = re.compile(r"(?P<event>\w+)(?P<fields>.*)")
_ELSEWHERE = (
    "make test",
    "source ",
    "systemctl ",
    "journalctl ",
    "sagad systemd ",
)  # installs, needs root, or means the reader's shell
_THERE = "http://127.0.0.1:8420"
# What is another one every time: left out on purpose, ids, hashes, times.
_VARIES = {
    r"\.\.\.": ".*?",
    r"\b[0-9A-HJKMNP-TV-Z]{26}\b": "[0-9A-HJKMNP-TV-Z]{26}",
    r"\b[0-9a-f]{24}\b": "[0-9a-f]{24}",
    r"(?:[A-Z][a-z]{2} )?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?!\+)": r"(?:[A-Z][a-z]{2} )?[\d-]{10} [\d:]{8}",
}
_PLACES = re.compile("|".join(f"({pattern})" for pattern in _VARIES))


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        shipped: The file of the application that it has to be.
        file: What a reader saves it as.
        place: Page and line, for whoever has to mend it.
    """

    language: str
    text: str
    shipped: str | None
    file: str | None
    place: str


def blocks_of(page: Path) -> list[Block]:
    """Return a page's fenced blocks."""
    text = page.read_text()
    return [
        Block(found["language"], found["text"], found["shipped"], found["file"], _place(page, text, found.start()))
        for found in _BLOCK.finditer(text)
    ]


def _place(page: Path, text: str, at: int) -> str:
    return f"{page.relative_to(SHIPPED)}:{text.count(chr(10), 0, at) + 1}"


class Reader:
    """Does what a page says, from top to bottom, in an application of its own; ends its daemon on leaving."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.daemon: DaemonProcess | None = None
        self._running = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def read(self, page: Path) -> None:
        """Do what the page says, and find what it shows."""
        for block in blocks_of(page):
            match block.language:
                case "python" if block.shipped:
                    assert block.text == (SHIPPED / block.shipped).read_text(), block.place
                case "python":
                    assert block.file, f"{block.place}: a block of Python says which file it is"
                    compile(block.text, block.place, "exec")
                    self.application.add(block.file, block.text)
                case "ini" if block.file:
                    self.application.add(block.file, block.text)
                case "toml":
                    Config(**{"app": {"name": "page"}, **tomllib.loads(block.text)})
                case "console":
                    for command, shown in _commands(block):
                        self._do(command, shown, block.place)
                case "log":
                    self._find(block)

    def _do(self, command: str, shown: str, place: str) -> None:
        if command.startswith(_ELSEWHERE):
            return
        words = shlex.split(command, comments=True)
        environment = {}
        while "=" in words[0]:
            name, _, environment[name] = words.pop(0).partition("=")
        if words in (["make", "run"], ["sagad", "run"]):
            self._running.close()
            self.daemon = self._running.enter_context(self.application.daemon(wait=True, **environment))
            return
        printed = self._curl(words) if words[0] == "curl" else self._run(words, environment)
        assert _shape(shown).fullmatch(_flat(printed)), f"{place}: {command}\n{printed}"

    def _run(self, words: list[str], environment: dict[str, str]) -> str:
        program, *arguments = words
        start = {"sagad": [sys.executable, "-m", "daemon"], "python": [sys.executable]}[program]
        return subprocess.run(
            [*start, *arguments],
            cwd=self.application.folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # as a terminal shows it
            text=True,
            timeout=30,
            check=False,
        ).stdout

    def _curl(self, words: list[str]) -> str:
        assert self.daemon is not None
        options = dict(zip(words[2::2], words[3::2], strict=True)) if words[1].startswith("http") else {}
        url = next(word for word in words if word.startswith(_THERE))
        body = options.get("-d")
        method = "POST" if body or "POST" in words else "GET"
        headers = dict([options["-H"].split(": ")]) if "-H" in options else {}
        with self.daemon.api() as api:
            return api.request(method, url.removeprefix(_THERE), content=body, headers=headers).text

    def _find(self, block: Block) -> None:
        """Find each of the lines that a page shows in the daemon's log, with the fields that it shows."""
        assert self.daemon is not None, block.place
        for line in block.text.splitlines():
            found = _LOG_LINE.fullmatch(line)
            assert found is not None, f"{block.place}: {line}"
            shown = dict(each.split("=", 1) for each in shlex.split(found["fields"]))
            fields: dict[str, Any] = {name: int(value) if value.isdecimal() else value for name, value in shown.items()}
            if "port" in fields:
                fields["port"] = self.daemon.port
            self.daemon.wait_for(found["event"], **fields)


def _commands(block: Block) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def _flat(text: str) -> str:
    return " ".join(text.split())


def _shape(shown: str) -> re.Pattern[str]:
    """Return what a command has to print, if a page shows this."""
    patterns = list(_VARIES.values())
    parts, at = [], 0
    text = _flat(shown)
    for place in _PLACES.finditer(text):
        parts += [re.escape(text[at : place.start()]), patterns[(place.lastindex or 1) - 1]]
        at = place.end()
    return re.compile("".join([*parts, re.escape(text[at:])]))


def configuration_table() -> dict[str, str]:
    """Return the README's table of configuration keys and their defaults."""
    table = (SHIPPED / "README.md").read_text().partition("<!-- configuration -->\n")[2].partition("\n\n")[0]
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {key: default for key, default, *_ in rows}


def configuration_keys() -> dict[str, str]:
    """Return the keys and defaults of the model, as the README's table writes them."""
    found = {}
    for table, field in Config.model_fields.items():
        if table in ("app", "broker", "storage", "http", "log", "daemon"):
            for key, each in field.annotation.model_fields.items():  # type: ignore[union-attr]
                found[f"{table}.{key}"] = "(required)" if each.is_required() else _toml(each.default)
        elif table in ("subscribers", "jobs"):
            name, override = ("<id>" if table == "subscribers" else "<name>"), field.annotation.__args__[1]  # type: ignore[union-attr]
            for key, each in override.model_fields.items():
                found[f"{table}.{name}.{key}"] = "the decorator's" if each.default is None else _toml(each.default)
    return found | {"options.<name>": ""}


def _toml(value: object) -> str:
    return json.dumps(value)
