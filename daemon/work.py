"""What only a daemon does with an application: it takes up work, and lets go of it."""

import asyncio

from daemon.app import App

_FOREVER_S = 365 * 86_400.0


class Work:
    """Going on with the runs of dead processes, consuming, firing jobs, deleting the old."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def start(self) -> None:
        """Take up work."""
        await self._app.patiently(self._app.recovery.start)
        await self._app.consumption.consume()
        await self._app.patiently(self._app.scheduler.start)
        await self._app.retention.start()

    async def quiesce(self) -> None:
        """Take nothing new from now on."""
        app = self._app
        app.draining = True
        await app.recovery.aclose()
        await app.retention.aclose()
        async with asyncio.TaskGroup() as group:
            group.create_task(app.scheduler.quiesce())
            group.create_task(app.consumption.quiesce())

    async def drain(self) -> None:
        """Return when nothing that was taken is left."""
        await self._drain(_FOREVER_S)

    async def aclose(self) -> None:
        """Cancel what is left: it is neither failed nor undone, and goes on where it stands."""
        if not self._app.draining:
            await self.quiesce()
        await self._drain(0)
        await self._app.scheduler.aclose()

    async def _drain(self, grace_s: float) -> None:
        # Handlers first: until they have ended they may start runs.
        async with asyncio.TaskGroup() as group:
            group.create_task(self._app.scheduler.drain(grace_s))
            group.create_task(self._app.consumption.drain(grace_s))
        await self._app.engine.drain(grace_s)
