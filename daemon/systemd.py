"""systemd: what it is told over the notify socket, and the unit that it runs us by."""

import os
import socket
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from daemon.config import Config
from daemon.errors import ConfigurationError, Problem

_HIDDEN = tuple(Path(each) for each in ("/home", "/root", "/run/user"))  # by ProtectHome
_PRIVATE = tuple(Path(each) for each in ("/tmp", "/var/tmp"))  # noqa: S108 - by PrivateTmp
_SPARE_S = 30  # between the end of the grace period and systemd's own patience

_UNIT = """\
# {app} on sagad. Install it with:
#   sagad systemd > /etc/systemd/system/{app}.service && systemctl enable --now {app}
# The service has a user of its own, so that everybody has to be allowed to read the application and its environment.
[Unit]
Description={app} (sagad)
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=60
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory={folder}
# A database that is away is waited for, however long that takes.
TimeoutStartSec=infinity
TimeoutStopSec={stop_s:g}
WatchdogSec=30
KillMode=mixed
Restart=on-failure
RestartSec=2
# A mistake in the configuration does not go away by trying again.
RestartPreventExitStatus=78

# Data
StateDirectory={state}
StateDirectoryMode=0700
{storage}
# A secret is best kept out of config.toml:
#   LoadCredential=broker-url:/etc/{app}/broker-url
#   Environment=SAGAD_BROKER__URL_FILE=%d/broker-url

# What it cannot do
DynamicUser=yes
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
{paths}
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
# Comment this out if a package of the application compiles while it runs (a JIT, some uses of cffi).
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


class Notifier:
    """Tells systemd how the service is; does nothing where nobody listens, and never fails.

    Args:
        address: The notify socket: a path, or `@` and an abstract name; empty: nobody listens.
        watchdog_s: How long systemd waits between two signs of life, in seconds; None: for ever.
    """

    def __init__(self, address: str = "", *, watchdog_s: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str] = os.environ) -> Self:
        """Take the socket and the watchdog's period from the environment, so that no child inherits them."""
        address = environ.pop("NOTIFY_SOCKET", "")
        period_us = environ.pop("WATCHDOG_USEC", "")
        is_ours = environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        is_watched = is_ours and period_us.isdecimal() and int(period_us) > 0
        return cls(address, watchdog_s=int(period_us) / 1_000_000 if is_watched else None)

    def ready(self, status: str = "") -> None:
        """Say that the service, or its reload, is done starting."""
        self._send("READY=1", *([_status(status)] if status else ()))

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(_status(text))

    def reloading(self, monotonic_s: float) -> None:
        """Say that a reload began, at that time of the monotonic clock; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={round(monotonic_s * 1_000_000)}")

    def stopping(self) -> None:
        """Say that the service is going down."""
        self._send("STOPPING=1")

    def extend_timeout(self, more_s: float) -> None:
        """Ask for that much more time, from now on."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(more_s * 1_000_000)}")

    def watchdog(self) -> None:
        """Give a sign of life."""
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # systemd that does not read must not hold up the loop.
            sender.settimeout(0)
            sender.sendto("\n".join(assignments).encode(), self._address)


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"


def unit_text(
    config: Config,
    config_path: Path,
    *,
    prefix: Path = Path(sys.prefix),
    base_prefix: Path = Path(sys.base_prefix),
    package: Path = Path(__file__).parent,
) -> str:
    """Return a hardened unit that runs the application as it is, with its SQLite file in the state directory.

    Args:
        config: The application's configuration.
        config_path: Its file.
        prefix: The environment that sagad is installed in.
        base_prefix: The Python that the environment was made from.
        package: Where sagad's own code is.

    Raises:
        ConfigurationError: The application or its environment is where a service cannot see it.
    """
    config_path, prefix = config_path.absolute(), prefix.absolute()
    folder = config_path.parent
    problems = [
        Problem(
            str(path),
            f"{what} is below {hidden}, which the service cannot see. Put it below /opt or /srv, such as "
            f"/opt/{config.app.name}, and run `sagad systemd` from there.",
        )
        for what, path in {"the application": folder, "the environment": prefix, "sagad": package}.items()
        if (hidden := _below(path, _HIDDEN))
    ]
    if problems:
        raise ConfigurationError(problems)
    return _UNIT.format(
        app=config.app.name,
        command=f"{_quoted(prefix / 'bin' / 'sagad')} --config {_quoted(config_path)} run",
        folder=_escaped(folder),
        stop_s=config.daemon.shutdown_grace_s + _SPARE_S,
        state=f"sagad-{config.app.name}",
        storage=_storage(config),
        paths=_paths([folder, prefix, package], base_prefix),
    )


def _storage(config: Config) -> str:
    file = config.sqlite_path
    if file is None:
        return "# Everything is in PostgreSQL."
    if not config.storage.is_absolute:
        url = f"sqlite:///%S/sagad-{config.app.name}/{_escaped(Path(file.name))}"
        return f'Environment="SAGAD_STORAGE__URL={url}"'
    return (
        "# config.toml says where the database is, and the service has to be allowed to write there: give the folder\n"
        "# to a user of this unit's name, which it then runs as.\n"
        f"ReadWritePaths=-{_quoted(file.parent)}"
    )


def _paths(needed: list[Path], base_prefix: Path) -> str:
    """Return who sees the home folders, and what is shown although it lies below a folder that is hidden."""
    shown = {path for path in needed if _below(path, _PRIVATE)}
    home = "yes"
    if _below(base_prefix, _HIDDEN):
        home = "tmpfs"  # an empty one, in which nothing but Python itself is shown
        shown |= {base_prefix.absolute(), base_prefix.resolve()}
    lines = [f"ProtectHome={home}", *(f"BindReadOnlyPaths={_quoted(path)}" for path in sorted(shown))]
    return "\n".join(lines)


def _below(path: Path, roots: tuple[Path, ...]) -> Path | None:
    spellings = (path.absolute(), path.resolve())
    return next((root for root in roots if any(each.is_relative_to(root) for each in spellings)), None)


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")


def _quoted(path: Path) -> str:
    text = _escaped(path).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"' if text != str(path) or " " in text else text
