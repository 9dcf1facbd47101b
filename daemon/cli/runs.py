"""`sagad runs`."""

import json as json_module
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli.loading import load_application, perform
from daemon.cli.options import CONFIG, ConfigOption, JsonArgument, JsonOption, group, json_text
from daemon.cli.output import cell_text, note, show, show_json, show_table
from daemon.cli.run_text import show_run
from daemon.config import load_config
from daemon.engine.filters import check_after, check_trigger
from daemon.errors import LEFT_OUT, MisfitError
from daemon.store.model import RunStatus
from daemon.workflow.codec import Json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemon.app import App
    from daemon.engine.reading import RunPage
    from daemon.workflow.run import WorkflowRun

_LOOK_S = 2.0  # a person would rather wait than ask again
app = group("List, show, watch, cancel, retry and rerun runs, and report the outcome of their external steps.")
RunArgument = Annotated[str, typer.Argument(metavar="RUN_ID", help="The run's id.")]
StepArgument = Annotated[str, typer.Argument(metavar="STEP", help="The step's name.")]


def _checked_by(check: "Callable[[str], str]") -> "Callable[[str | None], str | None]":
    """Return the callback of an option that refuses what `check` does."""

    def checked(given: str | None) -> str | None:
        try:
            return None if given is None else check(given)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return checked


def _moment(given: str | None) -> str | None:
    if given is not None:
        try:
            datetime.fromisoformat(given)
        except ValueError:
            what = f"{given!r} is no time: write 2026-01-31, 2026-01-31T08:00 (both UTC) or 2026-01-31T08:00+01:00."
            raise typer.BadParameter(what) from None
    return given


_TRIGGER, _AFTER = _checked_by(check_trigger), _checked_by(check_after)


@app.command("list")
def list_(
    *,
    workflow: Annotated[str | None, typer.Option(help="Of this workflow.")] = None,
    status: Annotated[RunStatus | None, typer.Option(help="In this state.")] = None,
    trigger: Annotated[
        str | None,
        typer.Option(help="Started by: event, event:hello-customer, job, request, ...", callback=_TRIGGER),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Started at this time or later; ISO 8601.", callback=_moment)
    ] = None,
    text: Annotated[str | None, typer.Option(help="With this text in id, workflow, input or errors.")] = None,
    after: Annotated[
        str | None, typer.Option(help="The page after the one that ended with this key.", callback=_AFTER)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    started = None if since is None else datetime.fromisoformat(since)
    if started is not None and started.tzinfo is None:
        started = started.replace(tzinfo=UTC)

    async def ask(app: "App") -> "RunPage":
        return await app.engine.list(
            workflow=workflow,
            status=status,
            trigger=trigger,
            since=started,
            text=text,
            after=after,
            limit=limit,
            within_s=_LOOK_S,
        )

    page = perform(load_config(config), None, ask)
    if json:
        show_json({"items": [each.to_json() for each in page.items], "next": page.next})
        return
    if not page.items:
        note("No such runs." if page.next is None else f"None so far. There are older ones: --after {page.next}")
        return
    show_table(
        ("run", "workflow", "status", "started (UTC)", "trigger", "error"),
        [
            (
                each.run_id,
                each.workflow,
                each.status.value,
                each.created_at,
                ":".join(part for part in (each.trigger.kind, each.trigger.name) if part),
                str(each.errors[0]) if each.errors else None,
            )
            for each in page.items
        ],
    )
    if page.next is not None:
        note(f"There are more: --after {page.next}")


@app.command("show")
def show_(
    run_id: RunArgument,
    *,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Show a run: its steps, what failed and what was undone."""

    async def ask(app: "App") -> "WorkflowRun[Any]":
        return await app.engine.get(run_id)

    found = perform(load_config(config), None, ask).to_json()
    if json:
        show_json(found)
    else:
        show_run(found)


@app.command()
def cancel(run_id: RunArgument, *, config: ConfigOption = CONFIG, json: JsonOption = False) -> None:
    """Ask for a run to be rolled back and to end cancelled.

    The daemon that drives it is told at once; if none runs, the next one sees to it.
    """

    async def ask(app: "App") -> "WorkflowRun[Any]":
        return await app.engine.cancel(run_id)

    found = perform(load_config(config), None, ask)
    show_json(found.to_json()) if json else show(f"Run {found.run_id} is to be cancelled; it was {found.status}.")


@app.command()
def retry(run_id: RunArgument, *, config: ConfigOption = CONFIG, json: JsonOption = False) -> None:
    """Go on with a rollback that gave up, from the compensations that did.

    A daemon takes it up within two seconds; if none runs, the next one does.
    """

    async def ask(app: "App") -> "WorkflowRun[Any]":
        return await app.engine.retry(run_id)

    found = perform(load_config(config), None, ask)
    show_json(found.to_json()) if json else show(f"Run {found.run_id} goes on with its rollback.")


@app.command()
def rerun(
    run_id: RunArgument,
    *,
    from_step: Annotated[
        str | None, typer.Option(metavar="STEP", help="What comes before this step keeps its outcome.")
    ] = None,
    input: Annotated[
        str | None, typer.Option(metavar="JSON", help="The input, or with --from-step that step's; else as before.")
    ] = None,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Run a run that has ended once more, as its next attempt, from the beginning or from one of its steps.

    A daemon takes it up within two seconds; if none runs, the next one does.
    """
    given = json_text(input)
    value = LEFT_OUT if given is None else Json(given)
    loaded, discovered = load_application(config)  # whose workflows tell what comes before a step

    async def ask(app: "App") -> "WorkflowRun[Any]":
        return await app.engine.rerun(run_id, from_step=from_step, input=value, here=False)

    with _json_checked("--input"):
        found = perform(loaded, discovered, ask)
    show_json(found.to_json()) if json else show(f"Run {found.run_id} is run once more, as attempt {found.attempt}.")


@app.command()
def watch(run_id: RunArgument, *, config: ConfigOption = CONFIG, json: JsonOption = False) -> None:
    """Print how a run stands and what happens to it, one line each, until it has ended.

    With --json each line is a JSON document.
    """

    async def follow(app: "App") -> None:
        async for event in app.engine.watch(run_id=run_id):
            if json:
                show(json_module.dumps(event.to_json()))
            else:
                attempt = f", attempt {event.attempt}" if event.attempt > 1 else ""
                show(f"{cell_text(event.at)}  {event.step or event.run_id}  {event.state}{attempt}")

    perform(load_config(config), None, follow)


@app.command("complete-step")
def complete_step(
    run_id: RunArgument,
    step: StepArgument,
    data: JsonArgument = None,
    *,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Report the output of an external step, which waits for it.

    Without JSON its output is null. The daemon that drives the run goes on with it at once; if none runs, the next one
    does.
    """
    output = Json(json_text(data) or b"null")
    loaded, discovered = load_application(config)  # whose types tell whether the output fits

    async def report(app: "App") -> "WorkflowRun[Any]":
        await app.engine.complete_step(run_id, step, output)
        return await app.engine.get(run_id)

    with _json_checked():
        found = perform(loaded, discovered, report)
    show_json(found.to_json()) if json else show(f"Step {step} of run {found.run_id} is completed.")


@app.command("fail-step")
def fail_step(
    run_id: RunArgument,
    step: StepArgument,
    reason: Annotated[str, typer.Argument(metavar="REASON", help="Why, for the run's errors.")],
    *,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Report that an external step, which waits for its outcome, has failed.

    It is tried again by its own policy.
    """

    async def report(app: "App") -> "WorkflowRun[Any]":
        await app.engine.fail_step(run_id, step, reason)
        return await app.engine.get(run_id)

    found = perform(load_config(config), None, report)
    show_json(found.to_json()) if json else show(f"Step {step} of run {found.run_id} is reported as failed.")


@contextmanager
def _json_checked(argument: str = "JSON") -> "Iterator[None]":
    """Have JSON that does not fit its type told as a wrong call."""
    try:
        yield
    except MisfitError as error:
        raise typer.BadParameter(str(error), param_hint=argument) from None
