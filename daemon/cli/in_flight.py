"""`sagad check --in-flight`: which runs this code would hold."""

import asyncio
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from daemon.cli.output import show, show_json, show_table
from daemon.config import Config, LogConfig
from daemon.log import configure_logging

if TYPE_CHECKING:
    from daemon.discovery import Discovered

_HASH_SHOWN = 8


def check_in_flight(config: Config, discovered: "Discovered", *, json: bool) -> None:
    """Show the runs of the configured storage that the application could not go on with; exit with 1 if there are any.

    It only reads, also while a daemon works.
    """
    from daemon.app import runs_in_flight  # noqa: PLC0415 - only this reads what is stored

    configure_logging(LogConfig(level="critical"), sys.stderr, app=config.app.name)
    found = asyncio.run(runs_in_flight(config, discovered))
    held = sum(each.count for each in found.stranded)
    if json:
        groups = [asdict(each) for each in found.stranded]
        show_json({"app": config.app.name, "runs": found.count, "held": held, "groups": groups})
    elif found.is_new:
        show(f"{config.app.name}: nothing was stored yet, so there is nothing to check.")
    else:
        if found.stranded:
            show_table(
                ("workflow", "graph", "runs", "why", "for example"),
                [
                    (each.workflow, each.graph[:_HASH_SHOWN], each.count, "; ".join(each.why), each.runs)
                    for each in found.stranded
                ],
            )
            show("")
        runs = "1 run" if found.count == 1 else f"{found.count} runs"
        show(f"{config.app.name}: {runs} in flight, {held or 'none'} would be held.")
    if held:
        raise typer.Exit(1)
