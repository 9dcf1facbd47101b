"""What config.toml says of subscribers, jobs and options, against what the application has."""

from collections.abc import Collection

from daemon.config.model import Config
from daemon.errors import Problem, did_you_mean

_RELOADED = frozenset({"subscribers", "jobs", "options", "log", "folder"})


def check_names(
    config: Config, *, subscribers: Collection[str], jobs: Collection[str], workflows: Collection[str]
) -> list[Problem]:
    """Return one problem per table of the configuration that is named after nothing in the application."""
    known = {
        "subscribers": ("subscriber", subscribers),
        "jobs": ("job", jobs),
        "options": ("subscriber, job or workflow", {*subscribers, *jobs, *workflows}),
    }
    problems = []
    for table, (noun, names) in known.items():
        for name in getattr(config, table):
            if name in names:
                continue
            what = f"no {noun} has this name.{did_you_mean(name, names)}"
            for other, (other_noun, other_names) in known.items():
                if other != "options" and name in other_names:
                    what = f"no {noun} has this name, but a {other_noun} has: write [{other}.{name}]."
            problems.append(Problem(f"{table}.{name}", what))
    return problems


def restart_keys(old: Config, new: Config) -> list[str]:
    """Return the dotted keys that differ and that a running daemon does not take up: they need a restart."""
    changed = []
    for table in Config.model_fields:
        before, after = getattr(old, table), getattr(new, table)
        if table not in _RELOADED and before != after:
            changed += [
                f"{table}.{key}" for key in type(before).model_fields if getattr(before, key) != getattr(after, key)
            ]
    return changed
