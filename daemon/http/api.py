"""The API: which route is whose."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from daemon.http import views
from daemon.http.events import EventsApi
from daemon.http.guard import Guard
from daemon.http.health import HealthApi
from daemon.http.jobs import JobsApi
from daemon.http.ports import ApiPorts
from daemon.http.problem import HANDLERS, PROBLEM_TYPE
from daemon.http.requests import JsonRoute
from daemon.http.runs import RunsApi

Route = tuple[str, str, Callable[..., Any], dict[int, type[BaseModel]]]
_SCHEMAS = "#/components/schemas/"
_DESCRIPTION = """Errors are problem details (RFC 9457). Where a token is set, everything but the probes needs
`Authorization: Bearer TOKEN`."""


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        described = super().openapi()
        problem = views.Problem.model_json_schema(ref_template=_SCHEMAS + "{model}")
        described["components"]["schemas"] |= {**problem.pop("$defs"), "Problem": problem}
        return described


def create_api(ports: ApiPorts) -> FastAPI:
    """Return the ASGI application that serves the API."""
    api = _Api(
        title=ports.app,
        description=_DESCRIPTION,
        version="1",
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=HANDLERS,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    api.router.route_class = JsonRoute
    problem = {
        "description": "A problem: `errors` names every wrong field.",
        "content": {PROBLEM_TYPE: {"schema": {"$ref": f"{_SCHEMAS}Problem"}}},
    }
    for path, method, endpoint, answers in _routes(ports):
        first, *others = answers
        api.add_api_route(
            path,
            endpoint,
            methods=[method],
            status_code=first,
            response_model=answers[first],
            responses={**{status: {"model": answers[status]} for status in others}, "4XX": problem},
            operation_id=endpoint.__name__,
        )
    api.add_middleware(Guard, ports=ports)
    return api


def _routes(ports: ApiPorts) -> list[Route]:
    health, events, runs, jobs = HealthApi(ports), EventsApi(ports), RunsApi(ports), JobsApi(ports)
    return [
        ("/livez", "GET", health.livez, {200: views.Health, 503: views.Health}),
        ("/readyz", "GET", health.readyz, {200: views.Health, 503: views.Health}),
        ("/api/events", "POST", events.publish_event, {202: views.Published}),
        ("/api/workflows", "GET", runs.list_workflows, {200: views.Workflows}),
        ("/api/workflows/{name}", "GET", runs.get_workflow, {200: views.Workflow}),
        ("/api/workflows/{name}/runs", "POST", runs.start_run, {200: views.Run, 202: views.Run}),
        ("/api/runs", "GET", runs.list_runs, {200: views.Runs}),
        ("/api/runs/{run_id}", "GET", runs.get_run, {200: views.Run}),
        ("/api/runs/{run_id}/cancel", "POST", runs.cancel_run, {202: views.Run}),
        ("/api/runs/{run_id}/retry", "POST", runs.retry_run, {202: views.Run}),
        ("/api/runs/{run_id}/rerun", "POST", runs.rerun_run, {202: views.Run, 200: views.Run}),
        ("/api/runs/{run_id}/steps/{step}/complete", "POST", runs.complete_step, {202: views.Run}),
        ("/api/runs/{run_id}/steps/{step}/fail", "POST", runs.fail_step, {202: views.Run}),
        ("/api/jobs", "GET", jobs.list_jobs, {200: views.Jobs}),
        ("/api/jobs/{name}/firings", "GET", jobs.list_firings, {200: views.Firings}),
        ("/api/jobs/{name}/orders", "GET", jobs.list_orders, {200: views.JobOrders}),
        ("/api/jobs/{name}/trigger", "POST", jobs.trigger_job, {202: views.Firing}),
        ("/api/jobs/{name}/pause", "POST", jobs.pause_job, {200: views.Job}),
        ("/api/jobs/{name}/resume", "POST", jobs.resume_job, {200: views.Job}),
        ("/api/subscribers", "GET", events.list_subscribers, {200: views.Subscribers}),
        ("/api/dead-letters", "GET", events.list_dead_letters, {200: views.DeadLetters}),
        ("/api/dead-letters/replay", "POST", events.replay_dead_letters, {200: views.Replayed}),
        ("/api/dead-letters/discard", "POST", events.discard_dead_letters, {200: views.Discarded}),
    ]
