"""Jobs: what will fire, what has fired, and what operators order."""

import asyncio
from http import HTTPStatus
from typing import Annotated

from fastapi import Body, Query

from daemon.http.ports import ApiPorts
from daemon.http.problem import JsonResponse
from daemon.http.requests import FiringQuery, Order, OrderQuery

_NOTHING_SAID = Order()


class JobsApi:
    """The routes of jobs."""

    def __init__(self, ports: ApiPorts) -> None:
        self._desk = ports.jobs

    async def list_jobs(self) -> JsonResponse:
        """List the jobs with their schedules, their next firing times and what became of the last one."""
        found = await self._desk.list()
        return JsonResponse({"items": await asyncio.to_thread(lambda: [each.to_json() for each in found])})

    async def list_firings(self, name: str, query: Annotated[FiringQuery, Query()]) -> JsonResponse:
        """List what became of a job's firings, latest first; `next` is what `after` is for the next page."""
        page = await self._desk.history(name, state=query.state, after=query.after, limit=query.limit)
        return JsonResponse(page.to_json())

    async def list_orders(self, name: str, query: Annotated[OrderQuery, Query()]) -> JsonResponse:
        """List who paused, resumed and triggered a job, when and why; latest first."""
        page = await self._desk.orders(name, after=query.after, limit=query.limit)
        return JsonResponse(page.to_json())

    async def trigger_job(self, name: str, body: Annotated[Order, Body()] = _NOTHING_SAID) -> JsonResponse:
        """Have a job fire now, also if it is paused; answered with the firing once it is durable.

        A daemon of the fleet takes it up. 409 if the job is disabled, or if a firing of it runs or waits and its
        `overlap` is `skip`.
        """
        firing = await self._desk.trigger(name, by=body.by, reason=body.reason)
        return JsonResponse(firing, HTTPStatus.ACCEPTED)

    async def pause_job(self, name: str, body: Annotated[Order, Body()] = _NOTHING_SAID) -> JsonResponse:
        """Have no firing of a job begin, in any daemon, until it is resumed; what runs goes on.

        What comes due meanwhile is recorded as skipped. One that is paused stays as it is.
        """
        return JsonResponse((await self._desk.pause(name, by=body.by, reason=body.reason)).to_json())

    async def resume_job(self, name: str, body: Annotated[Order, Body()] = _NOTHING_SAID) -> JsonResponse:
        """Have a job fire again from now on; one that is not paused stays as it is."""
        return JsonResponse((await self._desk.resume(name, by=body.by, reason=body.reason)).to_json())
