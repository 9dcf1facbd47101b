"""Reads config.toml and the environment; finds every mistake before it raises."""

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from daemon.config.environment import apply_environment
from daemon.config.model import Config
from daemon.errors import ConfigurationError, Problem

_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load_config(path: str | os.PathLike[str], environ: Mapping[str, str] = os.environ) -> Config:
    """Return the configuration of the file at `path`, with what the environment overrides.

    Args:
        path: The file; relative paths in it are relative to its folder.
        environ: `SAGAD_BROKER__URL` sets `broker.url`, `SAGAD_BROKER__URL_FILE` names a file that holds it.

    Raises:
        ConfigurationError: With every mistake in the file and in the environment.
    """
    config, problems = read_config(path, environ)
    if config is None or problems:
        raise ConfigurationError(problems)
    return config


def read_config(
    path: str | os.PathLike[str], environ: Mapping[str, str] = os.environ
) -> tuple[Config | None, list[Problem]]:
    """Return what is left of a configuration without its mistakes, if anything is, and those mistakes.

    What is left is for looking for more mistakes; nothing may run with it. The arguments are those of `load_config`.
    """
    file = Path(path).absolute()
    problems: list[Problem] = []
    tables = _read(file, problems)
    if tables is None:
        return None, problems
    if "folder" in tables:
        del tables["folder"]
        problems.append(Problem("folder", "is no table."))
    origins = apply_environment(tables, environ, folder=file.parent, problems=problems)
    tables["folder"] = file.parent
    try:
        config = Config.model_validate(tables, context=origins)
        return config, problems + _unreadable(config)
    except ConfigurationError as error:
        problems += error.problems
    left = _without(tables, {problem.where for problem in problems})
    left["app"] = {"name": "nameless", **left.get("app", {})}
    with suppress(ConfigurationError):
        return Config.model_validate(left, context=origins), problems
    return None, problems


def _unreadable(config: Config) -> list[Problem]:
    """Return what is wrong with the files for TLS: a daemon that has started would try to connect for ever."""
    files = {key: getattr(config.broker, key) for key in ("tls_ca", "tls_cert", "tls_key")}
    return [
        Problem(f"broker.{key}", f"names the file {config.path(file)}, which is not there or may not be read.")
        for key, file in files.items()
        if file and config.broker.url.startswith("amqps:") and not os.access(config.path(file), os.R_OK)
    ]


def _without(table: Mapping[str, Any], keys: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Return a table without the keys that are named, by their dotted path."""
    return {
        key: _without(value, keys, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in table.items()
        if f"{prefix}{key}" not in keys
    }


def _read(file: Path, problems: list[Problem]) -> dict[str, Any] | None:
    try:
        return tomllib.loads(file.read_bytes().decode())
    except FileNotFoundError:
        what = "there is no such file. Name another with --config, or write one: [app] with a name is enough."
        problems.append(Problem(str(file), what))
    except OSError as error:
        problems.append(Problem(str(file), f"cannot be read: {error.strerror}."))
    except UnicodeDecodeError as error:
        problems.append(Problem(str(file), f"is not UTF-8: byte {error.start} is none of its characters."))
    except tomllib.TOMLDecodeError as error:
        found = _POSITION.search(str(error))
        reason = _POSITION.sub("", str(error))
        where = f"{file}:{found[1]}:{found[2]}" if found and found[1] else str(file)
        problems.append(Problem(where, f"is not TOML: {reason}."))
    return None
