"""`sagad workflow`."""

import json as json_module
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli.loading import load_application, perform
from daemon.cli.options import CONFIG, ConfigOption, JsonArgument, JsonOption, group, json_text
from daemon.cli.output import note, show, show_json, show_table
from daemon.errors import CodecError, did_you_mean
from daemon.workflow.adapters import type_name
from daemon.workflow.bound import check_run_id
from daemon.workflow.port import RunOptions
from daemon.workflow.run import WorkflowRun
from daemon.workflow.workflow import WorkflowBase

if TYPE_CHECKING:
    from daemon.app import App
    from daemon.discovery import Discovered

app = group("List, run and draw the application's workflows.")
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The workflow's name.")]


class Format(StrEnum):
    """How a graph may be drawn."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


@app.command("list")
def list_(*, config: ConfigOption = CONFIG, json: JsonOption = False) -> None:
    """List the application's workflows."""
    _, discovered = load_application(config)
    found = [
        {
            "name": each.name,
            "input": None if each.graph.input is None else type_name(each.graph.input.type),
            "steps": [node.name for node in each.graph.steps()],
            "where": each.where,
        }
        for each in discovered.workflows
    ]
    if json:
        show_json(found)
    elif found:
        show_table(("workflow", "input", "steps", "where"), [tuple(each.values()) for each in found])
    else:
        note("There are no workflows.")


@app.command()
def run(
    name: NameArgument,
    data: JsonArgument = None,
    *,
    run_id: Annotated[str | None, typer.Option(help="One id is one run; else a fresh one.")] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Print the run's id as soon as its start is durable.")
    ] = False,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Run a workflow here and print its result.

    A daemon takes the run over if this process ends before it.
    """
    body = json_text(data)
    if run_id is not None:
        try:
            check_run_id(run_id)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--run-id") from None
    loaded, discovered = load_application(config)
    workflow = _named(name, discovered)
    value = _input(workflow, body)

    async def start(app: "App") -> WorkflowRun[Any]:
        return await app.engine.execute(workflow, value, RunOptions(run_id, wait=not no_wait))

    # Whoever watches a terminal sees what the steps log.
    done = perform(loaded, discovered, start, log=loaded.log if sys.stderr.isatty() else None)
    if no_wait:
        show_json({"run_id": done.run_id}) if json else show(done.run_id)
        return
    if done.status != "completed":
        raise done.failure()
    result = done.to_json()["result"]
    show_json(result) if json else show(json_module.dumps(result, ensure_ascii=False, indent=2))


@app.command()
def graph(
    name: NameArgument,
    *,
    format: Annotated[Format, typer.Option(help="How to draw it.")] = Format.MERMAID,  # noqa: A002 - names the option
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Draw a workflow's steps and their compensations."""
    _, discovered = load_application(config)
    drawn = _named(name, discovered).graph
    if json:
        show_json(drawn.describe())
        return
    match format:
        case Format.MERMAID:
            show(drawn.to_mermaid())
        case Format.DOT:
            show(drawn.to_dot())
        case Format.SVG:
            show(drawn.to_svg())


def _named(name: str, discovered: "Discovered") -> WorkflowBase:
    known = {each.name: each for each in discovered.workflows}
    if name not in known:
        hint = did_you_mean(name, known) or f" There are: {', '.join(sorted(known)) or 'none'}."
        raise typer.BadParameter(f"No workflow is named {name!r}.{hint}", param_hint="NAME")
    return known[name]


def _input(workflow: WorkflowBase, body: bytes | None) -> Any:
    codec = workflow.graph.input
    if codec is None:
        if body is not None:
            raise typer.BadParameter(f"{workflow.name!r} takes no input.", param_hint="JSON")
        return None
    if body is None:
        what = f"{workflow.name!r} takes an input of type {type_name(codec.type)}: give it as JSON, or - to read it."
        raise typer.BadParameter(what, param_hint="JSON")
    try:
        return codec.decode(body)
    except CodecError as error:
        wrong = str(error).partition(": ")[2]
        what = f"The input does not fit {type_name(codec.type)}: {wrong}."
        raise typer.BadParameter(what, param_hint="JSON") from None
