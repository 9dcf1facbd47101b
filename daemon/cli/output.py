"""What commands print: tables with colour on a terminal, aligned text elsewhere, JSON for machines.

Results go to stdout, everything that is said about them to stderr.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from daemon.redact import redacted

_STYLES = {
    "completed": "green",
    "running": "cyan",
    "waiting": "cyan",
    "compensating": "yellow",
    "compensated": "yellow",
    "reverted": "yellow",
    "cancelled": "yellow",
    "failed": "bold red",
    "compensation_failed": "bold red",
    "disabled": "dim",
}
_NOTHING = "-"


def show_json(document: object) -> None:
    """Print one JSON document; indented on a terminal."""
    is_utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
    show(json.dumps(document, ensure_ascii=not is_utf8, indent=2 if sys.stdout.isatty() else None))


def show(text: str) -> None:
    """Print text that is ours, at once: a reader that has gone shows here, and not when Python ends."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Say something to whoever watches, on stderr, without the passwords in it."""
    sys.stderr.write(f"{printable(redacted(text))}\n")
    sys.stderr.flush()


def show_title(title: str) -> None:
    """Print a section's title."""
    if sys.stdout.isatty():
        _console_print(title, style="bold")
    else:
        show(title)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; None is shown as a dash, a time in UTC."""
    cells = [[cell_text(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _show_rich_table(columns, cells)
        return
    lines = [[column.upper() for column in columns], *cells]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        show("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def show_fields(fields: Mapping[str, object]) -> None:
    """Print names and values, one pair a line."""
    width = max(map(len, fields))
    for name, value in fields.items():
        label = f"{name.ljust(width)}  "
        if sys.stdout.isatty():
            text = cell_text(value)
            _console_print(label, style="dim", end="")
            _console_print(text, style=_STYLES.get(text, ""))
        else:
            show(f"{label}{cell_text(value)}")


def cell_text(value: object) -> str:
    """Return a value as one line of a table shows it."""
    match value:
        case None | "":
            return _NOTHING
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case list() | tuple():
            return cell_text(", ".join(str(each) for each in value))
    return printable(str(value))


def printable(text: str, *, keep: str = "") -> str:
    """Return `text` with what would move or recolour a terminal, line ends included, written as escapes.

    Args:
        text: Whatever an event, an error or an application says.
        keep: Characters that may stay, such as line ends.
    """
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape", "surrogatepass").decode()
        for each in text
    )


def _show_rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table  # noqa: PLC0415 - only a terminal needs it
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, no_wrap=place == 0)  # what is copied from here stays in one piece
    for row in rows:
        table.add_row(*(Text(text, style=_STYLES.get(text, ""), overflow="fold") for text in row))
    _console_print(table)


def _console_print(what: object, *, style: str = "", end: str = "\n") -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

    Console(highlight=False, markup=False).print(what, style=style, end=end)
