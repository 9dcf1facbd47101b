"""Workflows and their runs: what there is, starting them, how they stand."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Body, Query
from starlette.responses import Response

from daemon.activation import Activation, Trigger, activated
from daemon.clock import new_id
from daemon.errors import LEFT_OUT, MisfitError, did_you_mean
from daemon.http.ports import ApiPorts
from daemon.http.problem import JsonResponse, Refusal, unprocessable, wrong_fields
from daemon.http.requests import NewRun, NextAttempt, RunQuery, StepFailure, StepOutput, TraceHeader, encoded
from daemon.trace import TRACEPARENT, TRACESTATE, Trace
from daemon.workflow.codec import Json
from daemon.workflow.port import RunOptions
from daemon.workflow.workflow import WorkflowBase

_NOTHING = NewRun()
_AS_BEFORE = NextAttempt()


class RunsApi:
    """The routes of workflows and runs."""

    def __init__(self, ports: ApiPorts) -> None:
        self._engine = ports.engine
        self._clock = ports.clock

    async def list_workflows(self) -> JsonResponse:
        """List the workflows with their graphs, by name."""
        found = sorted(self._engine.workflows.items())
        return JsonResponse({"items": [_workflow_json(workflow) for _, workflow in found]})

    async def get_workflow(self, name: str) -> JsonResponse:
        """Show a workflow with its graph."""
        return JsonResponse(_workflow_json(self._workflow(name)))

    async def start_run(
        self,
        name: str,
        body: Annotated[NewRun, Body()] = _NOTHING,
        traceparent: TraceHeader = "",
        tracestate: TraceHeader = "",
    ) -> JsonResponse:
        """Start a run, or join the one that has this id and this input.

        Answers 200 with the run once it has ended, whatever its end, and 202 while it goes on: it is parked, or the
        request does not wait. It goes on, too, if the client goes away.
        """
        workflow = self._workflow(name)
        value = _input_of(workflow, body)
        run_id = body.run_id or new_id(self._clock.now_us())
        options = RunOptions(run_id, wait=None if body.wait else False)
        trace = Trace.given({TRACEPARENT: traceparent, TRACESTATE: tracestate})
        trigger = Trigger("request", **(trace.headers("request", run_id) if trace else {}))
        with activated(Activation(trigger, (run_id,))):
            run = await self._engine.execute(workflow, value, options)
        status = HTTPStatus.OK if run.status.ended else HTTPStatus.ACCEPTED
        return JsonResponse(run.to_json(), status, headers={"location": f"/api/runs/{run.run_id}"})

    async def list_runs(self, query: Annotated[RunQuery, Query()]) -> Response:
        """List runs, newest first; `next` is what `after` is for the next page, and null on the last one.

        A page is never long in coming: where few of very many runs are wanted, it may hold fewer than `limit`, or none,
        although there are more. Follow `next` until it is null.
        """
        page = await self._engine.list(**dict(query))
        items, following = b",".join([run.as_json() for run in page.items]), json.dumps(page.next).encode()
        return Response(b'{"items":[%b],"next":%b}' % (items, following), media_type=JsonResponse.media_type)

    async def get_run(self, run_id: str) -> JsonResponse:
        """Show a run as it stands."""
        return JsonResponse((await self._engine.get(run_id)).to_json())

    async def cancel_run(self, run_id: str) -> JsonResponse:
        """Ask for a run to be rolled back and to end cancelled; answer with the run as it stands.

        The request is durable and reaches the run wherever it is driven. 409 if the run has ended.
        """
        run = await self._engine.cancel(run_id)
        return JsonResponse(run.to_json(), HTTPStatus.ACCEPTED)

    async def retry_run(self, run_id: str) -> JsonResponse:
        """Go on with a rollback that gave up, from the compensations that did; answer with the run as it stands.

        409 if the run is not failed, or none of its compensations gave up.
        """
        run = await self._engine.retry(run_id)
        return JsonResponse(run.to_json(), HTTPStatus.ACCEPTED)

    async def rerun_run(self, run_id: str, body: Annotated[NextAttempt, Body()] = _AS_BEFORE) -> JsonResponse:
        """Run a run that has ended once more, as its next attempt, from the beginning or from one of its steps.

        Answers 202 with the run as it stands, and 200 if it has ended while the request waited. 409 if it has not ended
        before, or cannot go on from this step.
        """
        is_given = "input" in body.model_fields_set
        value = Json(encoded("input", body.input)) if is_given else LEFT_OUT
        with _sent("input", is_there=is_given):
            run = await self._engine.rerun(
                run_id, from_step=body.from_step, input=value, wait=None if body.wait else False
            )
        is_over = body.wait and run.status.ended
        return JsonResponse(run.to_json(), HTTPStatus.OK if is_over else HTTPStatus.ACCEPTED)

    async def complete_step(self, run_id: str, step: str, body: Annotated[StepOutput, Body()]) -> JsonResponse:
        """Report the output of an external step, which waits for it; answer with the run as it stands.

        409 if the step does not wait for a report.
        """
        output = Json(encoded("output", body.output))
        with _sent("output", is_there="output" in body.model_fields_set):
            await self._engine.complete_step(run_id, step, output)
        return JsonResponse((await self._engine.get(run_id)).to_json(), HTTPStatus.ACCEPTED)

    async def fail_step(self, run_id: str, step: str, body: Annotated[StepFailure, Body()]) -> JsonResponse:
        """Report that an external step, which waits for its outcome, has failed; answer with the run as it stands.

        It is tried again by its own policy. 409 if the step does not wait for a report.
        """
        await self._engine.fail_step(run_id, step, body.error)
        return JsonResponse((await self._engine.get(run_id)).to_json(), HTTPStatus.ACCEPTED)

    def _workflow(self, name: str) -> WorkflowBase:
        known = self._engine.workflows
        if name not in known:
            raise Refusal(HTTPStatus.NOT_FOUND, f"No workflow has the name {name[:80]!r}.{did_you_mean(name, known)}")
        return known[name]


def _input_of(workflow: WorkflowBase, body: NewRun) -> Any:
    """Return the input as the workflow declares it. Raises `Refusal` with every wrong field."""
    codec = workflow.graph.input
    if codec is None:
        if body.input is not None:
            raise unprocessable([("input", f"Workflow {workflow.name!r} takes none: leave it out")])
        return None
    with _sent("input", is_there="input" in body.model_fields_set):
        return codec.given(Json(encoded("input", body.input)), "the input")


@contextmanager
def _sent(field: str, *, is_there: bool) -> Iterator[None]:
    """Have a field of a request that does not fit its type refused, with everything that is wrong in it."""
    try:
        yield
    except MisfitError as error:
        if not is_there:
            raise unprocessable([(field, "Field required")]) from None
        raise unprocessable(wrong_fields(error.details, within=field) or [(field, str(error))]) from None


def _workflow_json(workflow: WorkflowBase) -> dict[str, Any]:
    return {
        "name": workflow.name,
        "description": workflow.__doc__,
        "timeout_s": workflow.timeout.total_seconds() if workflow.timeout is not None else None,
        "steps": [node.name for node in workflow.graph.steps()],
        "graph": workflow.graph.describe(),
        "mermaid": workflow.graph.to_mermaid(),
    }
