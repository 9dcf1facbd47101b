"""`sagad run`."""

import asyncio
import faulthandler

from daemon.cli.loading import load_application
from daemon.cli.options import CONFIG, ConfigOption
from daemon.log import configure_logging


def run(*, config: ConfigOption = CONFIG) -> None:
    """Run the daemon in the foreground, until a signal stops it."""
    from daemon.serve import serve  # noqa: PLC0415 - `--help` does not need the daemon

    loaded, discovered = load_application(config)
    configure_logging(loaded.log, app=loaded.app.name)
    # systemd's watchdog ends a daemon that hangs with SIGABRT: where it hung is then on stderr.
    faulthandler.enable()
    asyncio.run(serve(config.absolute(), loaded, discovered))
