"""Overrides from the environment: `SAGAD_JOBS__RUN_ONCE_A_DAY__ENABLED=false` is `jobs.run-once-a-day.enabled`."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from daemon.config.model import Config
from daemon.config.report import is_free, is_text, table_keys
from daemon.errors import Problem, did_you_mean

_PREFIX = "SAGAD_"
_IGNORED = "SAGAD_TEST_"
_FILE = "_FILE"
_TABLES = [name for name in Config.model_fields if name != "folder"]


def apply_environment(
    tables: dict[str, Any], environ: Mapping[str, str], *, folder: Path, problems: list[Problem]
) -> dict[str, str]:
    """Put what the environment sets into `tables`.

    Args:
        tables: What the file says; changed in place.
        environ: The environment.
        folder: What the relative paths of `_FILE` variables are relative to.
        problems: Takes what is wrong.

    Returns:
        Which variable set a dotted key.
    """
    origins: dict[str, str] = {}
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX) or variable.startswith(_IGNORED):
            continue
        words = variable.removeprefix(_PREFIX).split("__")
        if len(words) == 1 or words[0].lower() not in _TABLES:
            if what := _unknown(words):
                problems.append(Problem(variable, what))
            continue
        location, from_file = _location(tables, words)
        key = ".".join(location)
        if key in origins:
            problems.append(Problem(variable, f"sets {key}, and so does {origins[key]}: keep one of them."))
            continue
        text = _content(folder / environ[variable], variable, problems) if from_file else environ[variable]
        if text is None:
            continue
        if not _put(tables, location, _value(text, location)):
            problems.append(Problem(variable, f"sets {key}, but {'.'.join(location[:-1])} is no table."))
        origins[key] = variable
    return origins


def _unknown(words: Sequence[str]) -> str | None:
    """Return what is wrong with a variable that names no table; None for one that was not meant for us.

    Others set variables with our prefix too, such as Kubernetes (`SAGAD_SERVICE_HOST`) for a service of that name.
    """
    first = words[0].lower()
    if len(words) > 1:
        return f"sets no key: there is no table [{first}].{did_you_mean(first, _TABLES)}"
    table, _, rest = first.partition("_")
    if rest and (guess := table if table in _TABLES else did_you_mean(table, _TABLES)):
        name = guess if guess == table else guess.split("'")[1]
        meant = f"{_PREFIX}{name}__{rest}".upper()
        return f"sets no key: two underscores stand between a table and its key. Did you mean {meant!r}?"
    return None


def _location(tables: Mapping[str, Any], words: Sequence[str]) -> tuple[list[str], bool]:
    """Return the keys that a variable's words stand for, and whether its value is the name of a file."""
    location = [words[0].lower()]
    table = tables.get(location[0])
    for position, word in enumerate(words[1:], start=1):
        is_last = position == len(words) - 1
        spelled = _spelled(table, location, word)
        if spelled is None and is_last and word.endswith(_FILE):
            bare = word.removesuffix(_FILE)
            return [*location, _spelled(table, location, bare) or _default(location, bare)], True
        location.append(spelled or _default(location, word))
        table = table.get(location[-1]) if isinstance(table, dict) else None
    return location, False


def _spelled(table: object, location: list[str], word: str) -> str | None:
    """Return the key that `word` stands for among those of the table and of its model; None if it is none of them."""
    known = [*(table if isinstance(table, dict) else ()), *table_keys(Config, location)]
    return next((key for key in known if key.upper().replace("-", "_") == word.upper()), None)


def _default(location: list[str], word: str) -> str:
    """Return the spelling of a key that nobody knows yet: a name has dashes, an option underscores."""
    names = len(location) == 1 and is_free(Config, location)
    return word.lower().replace("_", "-") if names else word.lower()


def _content(file: Path, variable: str, problems: list[Problem]) -> str | None:
    try:
        return file.read_bytes().decode().rstrip("\r\n")
    except OSError as error:
        problems.append(Problem(variable, f"names the file {file}, which cannot be read: {error.strerror}."))
    except UnicodeDecodeError:
        problems.append(Problem(variable, f"names the file {file}, which is not UTF-8."))
    return None


def _value(text: str, location: list[str]) -> Any:
    """Return the value of a variable: TOML if it is that, else the text itself."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed["value"]
    if len(parsed) > 1 or (is_text(Config, location) and not isinstance(value, str)):
        return text
    return value


def _put(tables: dict[str, Any], location: Sequence[str], value: Any) -> bool:
    table = tables
    for key in location[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            return False
    table[location[-1]] = value
    return True
