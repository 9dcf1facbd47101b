"""`sagad run`."""

import asyncio

from daemon.cli.loading import load_application
from daemon.cli.options import CONFIG, ConfigOption
from daemon.log import configure_logging


def run(*, config: ConfigOption = CONFIG) -> None:
    """Run the daemon in the foreground, until a signal stops it."""
    from daemon.serve import serve  # noqa: PLC0415 - `--help` does not need the daemon

    loaded, discovered = load_application(config)
    configure_logging(loaded.log, app=loaded.app.name)
    asyncio.run(serve(config.absolute(), loaded, discovered))
