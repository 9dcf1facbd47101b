"""`open_container`: the way in for programs that are no daemon; imports the whole only when it is called."""

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from daemon.config import Config, load_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from os import PathLike

    import svcs


@asynccontextmanager
async def open_container(config: "Config | str | PathLike[str]") -> "AsyncIterator[svcs.Container]":
    """Give a script, a test or a web application the container of a configuration.

    Workflows are started and looked at with it; events are not consumed and jobs do not fire. It needs no application
    folder: a workflow is known to it when it is first called with the container. Runs that are started here execute
    here; if this process ends, a daemon takes them over.

    Args:
        config: The path of a config.toml: the services of the application beside it are in the container, too. Or a
            `Config` made in code, which brings none.

    Raises:
        ConfigurationError: The configuration, or the application beside it, has mistakes; all of them.
    """
    from daemon.app import opened  # noqa: PLC0415 - who only imports sagad does not wait for all of it
    from daemon.discovery import discover_beside  # noqa: PLC0415

    loaded = config if isinstance(config, Config) else load_config(config)
    found = None if isinstance(config, Config) else discover_beside(loaded.folder)
    async with opened(loaded, found) as app, app.services.handler_container() as container:
        yield container
