"""Probes: whether the process is well, and whether it takes work; states only, for whoever asks."""

import asyncio
from http import HTTPStatus

from daemon.http.ports import ApiPorts, Checks
from daemon.http.problem import JsonResponse
from daemon.log import get_logger

_CHECK_S = 5.0
log = get_logger(__name__)


class HealthApi:
    """The routes of the probes."""

    def __init__(self, ports: ApiPorts) -> None:
        self._ports = ports

    async def livez(self) -> JsonResponse:
        """Tell whether the process is well; 503 says to restart it."""
        return await _state(self._ports.live)

    async def readyz(self) -> JsonResponse:
        """Tell whether the process takes work: 503 while it starts, drains, or misses its store or broker."""
        return await _state(self._ports.ready)


async def _state(ask: Checks) -> JsonResponse:
    try:
        async with asyncio.timeout(_CHECK_S):
            checks = await ask()
    except Exception:
        log.exception("health_unknown")
        checks = {"health": False}
    well = all(checks.values())
    status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
    states = {name: "ok" if is_well else "failing" for name, is_well in checks.items()}
    return JsonResponse({"status": "ok" if well else "unavailable", "checks": states}, status)
