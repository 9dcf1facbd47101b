"""`sagad systemd`."""

from daemon.cli.loading import load_application
from daemon.cli.options import CONFIG, ConfigOption
from daemon.cli.output import show
from daemon.config import read_config


def systemd(*, config: ConfigOption = CONFIG) -> None:
    """Print the hardened systemd unit that runs this application."""
    from daemon.systemd import unit_text  # noqa: PLC0415 - no other command needs it

    loaded, _ = load_application(config)
    # The service has no variable of whoever prints its unit; what it then lacks, a credential may give it.
    without_variables, _ = read_config(config, {})
    show(unit_text(without_variables or loaded, config.absolute()).rstrip("\n"))
