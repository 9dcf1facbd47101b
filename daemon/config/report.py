"""Turns pydantic's errors into problems: the dotted key, what is wrong, a did-you-mean; never a secret."""

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from daemon.errors import Problem, did_you_mean

_SHOWN_MAX = 60
_SECRET_KEYS = frozenset({"broker.url", "storage.url", "http.token"})
_SENTENCES = {
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be a text in quotes",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "tuple_type": "must be a list",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
}
_PATTERNS = {
    "app.name": "must be a name such as 'my-shop': letters, digits, '-' and '_'",
    "http.token": "must be visible ASCII characters without spaces",
}


def problems_of(
    error: ValidationError, model: type[BaseModel], origins: Mapping[str, str] | None = None
) -> list[Problem]:
    """Return one problem per mistake.

    Args:
        error: What pydantic found.
        model: What was validated.
        origins: Which environment variable set a dotted key, for those that one set.
    """
    return list(_problems(error, model, origins or {}))


def _problems(error: ValidationError, model: type[BaseModel], origins: Mapping[str, str]) -> Iterator[Problem]:
    for each in error.errors(include_url=False):
        location = [str(part) for part in each["loc"]]
        context = each.get("ctx", {})
        if location and location[-1] == "[key]":
            location.pop()
        if each["type"] == "missing" and location == ["app"]:
            location.append("name")
        where = ".".join(location)
        origin = next((origins[key] for key in origins if _is_within(key, where) or _is_within(where, key)), None)
        what = _what(each["type"], where, location, context, model, message=each["msg"])
        if each["type"] in _SENTENCES or each["type"] == "string_pattern_mismatch":
            what += _shown(
                each["input"], secret=where in _SECRET_KEYS or location[0] == "options" or origin is not None
            )
        if each["type"] == "literal_error" and isinstance(each["input"], str):
            what += did_you_mean(each["input"].lower(), _choices(model, location))
        yield Problem(where, what + (f" (Set by {origin}.)" if origin else ""))


def _is_within(key: str, table: str) -> bool:
    return f"{key}.".startswith(f"{table}.")


def _what(
    kind: str, where: str, location: list[str], context: Mapping[str, Any], model: type[BaseModel], *, message: str
) -> str:
    match kind:
        case "missing":
            example = ', such as name = "shop"' if where == "app.name" else ""
            return f"is required{example}."
        case "extra_forbidden":
            known = table_keys(model, location[:-1])
            table = ".".join(location[:-1])
            return f"is no {'key of ' + f'[{table}]' if table else 'table'}.{did_you_mean(location[-1], known)}"
        case "string_pattern_mismatch":
            return _PATTERNS[where]
        case _ if kind in _SENTENCES:
            shown = {key: f"{value:g}" if isinstance(value, float) else value for key, value in context.items()}
            return _SENTENCES[kind].format(**shown)
        case _:
            return message


def _shown(value: object, *, secret: bool) -> str:
    """Return the end of the sentence: the wrong value if it may be seen, else its type."""
    kinds = {str: "a text", bool: "true or false", dict: "a table", list: "a list", tuple: "a list"}
    if secret or isinstance(value, (dict, list, tuple)):
        kind = kinds.get(type(value))
        return f", not {kind}." if kind and not secret else "."
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return f", not {text}." if len(text) <= _SHOWN_MAX else "."


def _annotation(model: type[BaseModel], location: list[str]) -> Any:
    """Return the type of what stands at `location`, or None where the models know nothing of it."""
    found: Any = model
    for part in location:
        found = _inner(found)
        if isinstance(found, type) and issubclass(found, BaseModel):
            field = found.model_fields.get(part)
            found = field.annotation if field else None
        elif get_origin(found) is dict:
            found = get_args(found)[1]
        else:
            return None
    return _inner(found)


def _inner(annotation: Any) -> Any:
    """Return `X` for `X | None` and for `Annotated[X, ...]`."""
    while True:
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        elif get_origin(annotation) in (Union, UnionType):
            annotation = next(each for each in get_args(annotation) if each is not type(None))
        else:
            return annotation


def table_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    """Return the keys that the table at `location` has in its model; none where any name goes."""
    table = _annotation(model, location)
    if not (isinstance(table, type) and issubclass(table, BaseModel)):
        return []
    return [name for name in table.model_fields if location or name != "folder"]


def _choices(model: type[BaseModel], location: list[str]) -> tuple[str, ...]:
    return get_args(_annotation(model, location))


def is_text(model: type[BaseModel], location: list[str]) -> bool:
    """Tell whether the key at `location` holds a text, so that `123` stays what it is."""
    annotation = _annotation(model, location)
    return annotation is str or get_origin(annotation) is Literal


def is_free(model: type[BaseModel], location: list[str]) -> bool:
    """Tell whether the table at `location` takes any name, as `[jobs]` does."""
    return get_origin(_annotation(model, location)) is dict
