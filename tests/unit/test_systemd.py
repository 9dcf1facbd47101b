"""What systemd is told, when, and the unit that it gets."""

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.clock import ManualClock
from daemon.config import Config
from daemon.errors import ConfigurationError
from daemon.lifecycle import Lifecycle
from daemon.log import captured_log
from daemon.systemd import Notifier, unit_text
from daemon.watchdog import LoopMonitor
from tests.services.programs import find_or_install


class Listener:
    """The other end of the notify socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(0)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(str(tmp_path / "notify") if request.param == "path" else f"@sagad-{secrets.token_hex(8)}")
    yield listener
    listener.close()


def test_every_message_has_systemds_format(listener: Listener) -> None:
    notifier = Notifier(listener.address)

    notifier.ready("5 subscribers,\n3 jobs")
    notifier.status("2 in flight")
    notifier.reloading(1.5)
    notifier.extend_timeout(30)
    notifier.watchdog()
    notifier.stopping()

    assert listener.heard() == [
        "READY=1\nSTATUS=5 subscribers, 3 jobs",
        "STATUS=2 in flight",
        "RELOADING=1\nMONOTONIC_USEC=1500000",
        "EXTEND_TIMEOUT_USEC=30000000",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_without_a_listener_nothing_happens(tmp_path: Path) -> None:
    notifiers = [Notifier(), Notifier(str(tmp_path / "nobody"))]

    for notifier in notifiers:
        notifier.ready()

    assert not list(tmp_path.iterdir())


def test_the_environment_is_read_once_and_not_left_to_children(listener: Listener) -> None:
    environ = {
        "NOTIFY_SOCKET": listener.address,
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
        "PATH": "/bin",
    }

    notifier = Notifier.from_environ(environ)
    notifier.ready()

    assert environ == {"PATH": "/bin"}
    assert notifier.watchdog_s == 30
    assert listener.heard() == ["READY=1"]


@pytest.mark.parametrize("environ", [{"WATCHDOG_USEC": "3", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}, {}])
def test_a_watchdog_that_is_not_ours_is_not_fed(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environ(environ)

    assert notifier.watchdog_s is None


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_whole_life_is_told_to_systemd(listener: Listener) -> None:
    async def reload() -> None:
        pass

    class Part:
        async def start(self) -> None:
            lifecycle.set_status("1 subscriber")

        async def aclose(self) -> None:
            pass

        async def quiesce(self) -> None:
            pass

        async def drain(self) -> None:
            await clock.sleep(12)

    clock = ManualClock()
    lifecycle = Lifecycle(clock, Notifier(listener.address), grace_s=30, reload=reload)
    lifecycle.add("part", Part())

    with captured_log():
        task = asyncio.create_task(lifecycle.run())
        await settle()
        lifecycle._reload_wanted.set()
        await settle()
        lifecycle.stop("SIGTERM")
        for _ in range(12):
            await settle()
            clock.advance(timedelta(seconds=1))
        await task

    assert listener.heard() == [
        "STATUS=1 subscriber",
        "READY=1\nSTATUS=1 subscriber",
        "RELOADING=1\nMONOTONIC_USEC=0",
        "READY=1\nSTATUS=1 subscriber",
        "STOPPING=1",
        "EXTEND_TIMEOUT_USEC=30000000",
        "EXTEND_TIMEOUT_USEC=30000000",
        "EXTEND_TIMEOUT_USEC=20000000",
    ]


async def test_the_watchdog_is_fed_at_half_its_period_while_the_loop_turns(listener: Listener) -> None:
    clock = ManualClock()
    monitor = LoopMonitor(clock, Notifier(listener.address, watchdog_s=8))
    await monitor.start()

    signs = []
    for second in range(10):
        await settle()
        signs += [second] * len(listener.heard())
        clock.advance(timedelta(seconds=1))
    await monitor.aclose()

    assert signs == [0, 4, 8]
    assert monitor.is_well()


async def test_a_blocked_loop_or_a_failing_check_earns_no_sign_of_life(listener: Listener) -> None:
    clock, healthy = ManualClock(), True
    monitor = LoopMonitor(clock, Notifier(listener.address, watchdog_s=8), checks=[lambda: healthy])
    await monitor.start()
    await settle()
    first = listener.heard()

    with captured_log() as entries:
        clock.advance(timedelta(seconds=6))
        await settle()
    blocked, well_when_blocked = listener.heard(), monitor.is_well()
    healthy = False
    clock.advance(timedelta(seconds=1))
    await settle()
    unhealthy = listener.heard()
    healthy = True
    clock.advance(timedelta(seconds=1))
    await settle()
    recovered = listener.heard()
    await monitor.aclose()

    assert [first, blocked, unhealthy, recovered] == [["WATCHDOG=1"], [], [], ["WATCHDOG=1"]]
    assert not well_when_blocked
    assert [(entry["event"], entry["duration_ms"]) for entry in entries] == [("event_loop_blocked", 5000.0)]


def unit(config: Config, folder: str = "/opt/shop", **places: Any) -> dict[str, list[str]]:
    """Return the unit's settings, each with its values."""
    text = unit_text(config, Path(folder) / "config.toml", **{**PLACES, **places})
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


PLACES = {"prefix": Path("/opt/shop/.venv"), "base_prefix": Path("/usr"), "package": Path("/opt/shop/.venv/lib/daemon")}
SHOP = Config(app={"name": "shop"}, folder=Path("/opt/shop"))


def test_the_unit_runs_the_application_with_its_storage_in_the_state_directory() -> None:
    settings = unit(SHOP)

    assert settings["ExecStart"] == ["/opt/shop/.venv/bin/sagad --config /opt/shop/config.toml run"]
    assert settings["WorkingDirectory"] == ["/opt/shop"]
    assert settings["StateDirectory"] == ["sagad-shop"]
    assert settings["Environment"] == ['"SAGAD_STORAGE__URL=sqlite:///%S/sagad-shop/sagad.db"']
    assert settings["TimeoutStopSec"] == ["60"]
    assert settings["RestartPreventExitStatus"] == ["78"]
    assert settings["ProtectHome"] == ["yes"]
    assert "BindReadOnlyPaths" not in settings


def test_a_database_that_config_toml_places_elsewhere_stays_there() -> None:
    absolute = Config(app={"name": "shop"}, storage={"url": "sqlite:////srv/shop/sagad.db"})
    postgres = Config(app={"name": "shop"}, storage={"url": "postgresql://shop@db/shop"})

    units = [unit(absolute), unit(postgres)]

    assert [each.get("Environment") for each in units] == [None, None]
    assert [each.get("ReadWritePaths") for each in units] == [["-/srv/shop"], None]


def test_odd_characters_in_a_path_reach_the_program_as_they_are() -> None:
    settings = unit(SHOP, folder='/opt/my shop 100% "$x"')

    assert settings["ExecStart"] == [
        '/opt/shop/.venv/bin/sagad --config "/opt/my shop 100%% \\"$$x\\"/config.toml" run',
    ]
    assert settings["WorkingDirectory"] == ['/opt/my shop 100%% "$x"']


def test_what_a_hardened_service_does_not_see_is_shown_to_it_alone() -> None:
    folder, python = "/var/tmp/shop", "/home/ada/.local/share/python"  # noqa: S108 - that is what it is about

    settings = unit(SHOP, folder=folder, base_prefix=Path(python))

    assert settings["ProtectHome"] == ["tmpfs"]
    assert settings["BindReadOnlyPaths"] == [python, folder]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"folder": "/home/ada/shop"}, "/home/ada/shop: the application is below /home"),
        ({"prefix": Path("/root/venv")}, "/root/venv: the environment is below /root"),
        ({"package": Path("/run/user/1000/daemon")}, "/run/user/1000/daemon: sagad is below /run/user"),
    ],
)
def test_an_application_below_a_home_folder_is_refused_and_told_where_to_go(
    changed: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        unit(SHOP, **changed)

    assert str(caught.value) == (
        f"{sentence}, which the service cannot see. Put it below /opt or /srv, such as /opt/shop, "
        "and run `sagad systemd` from there."
    )


def _analyzer() -> Path | None:
    found = shutil.which("systemd-analyze")
    return Path(found) if found else None


@pytest.mark.parametrize("base_prefix", ["/usr", "/root/python"])
def test_systemd_finds_the_unit_correct_and_its_exposure_low(tmp_path: Path, base_prefix: str) -> None:
    program = Path(sys.executable).parent / "sagad"
    file = tmp_path / "shop.service"
    text = unit_text(
        SHOP,
        Path("/opt/shop/config.toml"),
        prefix=program.parent.parent,
        base_prefix=Path(base_prefix),
        package=Path("/opt/sagad"),
    )
    file.write_text(text.replace("WorkingDirectory=/opt/shop", "WorkingDirectory=/"), encoding="utf-8")
    assert find_or_install("systemd", _analyzer), "systemd-analyze is needed: install systemd"

    verified = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)
    scored = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    score = scored.stdout.rsplit("Overall exposure level for shop.service: ", 1)[1].split()[0]
    assert float(score) <= 1.5
