"""What commands work on: the configuration, the application beside it, and what the configuration names."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from daemon.config import Config, LogConfig, read_config
from daemon.errors import ConfigurationError
from daemon.log import configure_logging

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemon.app import App
    from daemon.discovery import Discovered

T = TypeVar("T")


def load_application(path: Path) -> "tuple[Config, Discovered]":
    """Return the configuration and the application in its folder.

    Raises:
        ConfigurationError: With every mistake in the configuration and in the application's modules.
    """
    from daemon.declared import jobs_of, misnamed, missing_driver  # noqa: PLC0415 - `--help` needs neither
    from daemon.discovery import discover  # noqa: PLC0415

    discovered: Discovered | None = None
    config, problems = read_config(path)  # what is wrong in it must not hide what else is
    if _is_there(path):  # else this is some folder, whose modules are nobody's application
        try:
            discovered = discover(path.absolute().parent)
        except ConfigurationError as error:
            problems += error.problems
    if config is not None:
        problems += missing_driver(config)
    if config is not None and discovered is not None:
        problems += misnamed(discovered, config)
        try:
            jobs_of(discovered, config)
        except ConfigurationError as error:
            problems += error.problems
        if not problems:
            return config, discovered
    raise ConfigurationError(problems)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # we may not look into its folder
        return False


def perform(
    config: Config,
    discovered: "Discovered | None",
    work: "Callable[[App], Awaitable[T]]",
    *,
    log: LogConfig | None = None,
) -> T:
    """Return what `work` does with the storage and the broker of the configuration.

    Args:
        config: Names them.
        discovered: The application, where its workflows or subscribers are needed.
        work: What to do.
        log: What to log on stderr meanwhile; None: nothing, what went wrong is told once, when the command ends.
    """
    from daemon.app import opened  # noqa: PLC0415 - `check` and `--help` connect to nothing

    configure_logging(log or LogConfig(level="critical"), sys.stderr, app=config.app.name)

    async def whole() -> T:
        async with opened(config, discovered) as app:
            return await work(app)

    return asyncio.run(whole())
