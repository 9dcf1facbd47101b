"""`sagad systemd`."""

from daemon.cli.loading import load_application
from daemon.cli.options import CONFIG, ConfigOption
from daemon.cli.output import show


def systemd(*, config: ConfigOption = CONFIG) -> None:
    """Print the hardened systemd unit that runs this application."""
    from daemon.systemd import unit_text  # noqa: PLC0415 - no other command needs it

    loaded, _ = load_application(config)
    show(unit_text(loaded, config.absolute()).rstrip("\n"))
