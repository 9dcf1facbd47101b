"""The options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

CONFIG = Path("config.toml")


def _last_named(context: typer.Context, given: Path) -> Path:
    """Return the file that the nearest `--config` names: the option may stand before or after a command's name."""
    root = context.find_root()
    if given != CONFIG:
        root.obj = given
    return root.obj or CONFIG


ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config",
        metavar="PATH",
        help="The application's configuration.",
        callback=_last_named,
        readable=False,  # one that may not be read is a mistake in the configuration, as one that is not there
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for machines.")]
JsonArgument = Annotated[str | None, typer.Argument(metavar="JSON", help="JSON; - reads it from standard input.")]


def group(help: str) -> typer.Typer:  # noqa: A002 - what Typer calls it
    """Return a group of commands that shows its help when none is named, and takes `--config` before that name."""
    made = typer.Typer(help=help, add_completion=False, invoke_without_command=True)

    @made.callback()
    def start(context: typer.Context, config: ConfigOption = CONFIG) -> None:  # noqa: ARG001 - its callback keeps it
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    return made


def json_text(given: str | None) -> bytes | None:
    """Return the JSON of an argument, as it was written, or that of standard input for `-`; None if there is none.

    Raises:
        typer.BadParameter: It is no JSON.
    """
    from pydantic_core import from_json  # noqa: PLC0415 - imported by whatever follows anyway, and not by --help

    if given is None:
        return None
    text = typer.get_binary_stream("stdin").read() if given == "-" else given.encode(errors="surrogateescape")
    text = text.strip()
    try:
        from_json(text, allow_inf_nan=False)
    except ValueError as error:
        source = "Standard input" if given == "-" else f"{_shortened(given)!r}"
        raise typer.BadParameter(f"{source} is no JSON: {error}.") from None
    return text


def _shortened(text: str) -> str:
    most = 60
    return text if len(text) <= most else f"{text[:most]}..."
