"""All commands, put together."""

import sys
from typing import Annotated

import typer

from daemon.cli import check, dead_letters, jobs, publish, run, runs, subscribers, systemd, topology, workflow
from daemon.cli.options import CONFIG, ConfigOption


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - as Typer calls it
    from importlib.metadata import version  # noqa: PLC0415 - only --version needs it

    if wanted:
        typer.echo(f"sagad {version('sagad')}")
        raise typer.Exit


def sagad() -> typer.Typer:
    """Return the command; its help is coloured on a terminal."""
    app = typer.Typer(
        add_completion=False,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
    )

    @app.callback()
    def start(
        context: typer.Context,
        *,
        config: ConfigOption = CONFIG,  # noqa: ARG001 - its callback keeps it
        version: Annotated[  # noqa: ARG001 - the same
            bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """Durable workflows with compensation, started by events, schedules and HTTP."""
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    app.command("run")(run.run)
    app.command("check")(check.check)
    app.command("publish")(publish.publish)
    app.add_typer(workflow.app, name="workflow")
    app.add_typer(runs.app, name="runs")
    app.add_typer(jobs.app, name="jobs")
    app.add_typer(subscribers.app, name="subscribers")
    app.add_typer(dead_letters.app, name="dead-letters")
    app.add_typer(topology.app, name="topology")
    app.command("systemd")(systemd.systemd)
    return app
