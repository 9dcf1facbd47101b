"""Versioned schemas: forward-only migrations, one SQL file each, numbered from 1 without gaps.

What is released is never changed; a change is a new file. A database's version is the number of its last migration.
"""

from importlib.resources import files


def migrations(database: str) -> list[str]:
    """Return the scripts of a kind of database (`sqlite`); the first takes an empty one to version 1, and so on."""
    scripts = sorted(
        (script for script in files(__name__).joinpath(database).iterdir() if script.name.endswith(".sql")),
        key=lambda script: script.name,
    )
    return [script.read_text(encoding="utf-8") for script in scripts]
