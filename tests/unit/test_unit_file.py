"""The unit that systemd gets."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Config
from daemon.errors import ConfigurationError
from daemon.systemd import unit_text
from tests.services.programs import find_or_install


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
