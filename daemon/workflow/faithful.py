"""Which values come back from JSON as what they are, known from their types, without reading it; pure.

To read a value's JSON and compare takes five times as long as to write it. For most values it is not needed: a model
whose every field is exactly of the built-in type that is declared, and which does nothing of its own when it is
written or read, comes back as what it was. The proof of a declared type says so: by the exact type of a value,
whether every such value comes back unchanged, or what tells it of one.

Only what is known to do nothing is proven: a key of pydantic's schema that is not listed here (a constraint, an alias,
a validator, a serializer, a computed field, an option of the model) leaves its type unproven.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Flag
from math import isfinite
from types import NoneType
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic_core import TzInfo

Proof = Mapping[type, Callable[[Any], bool] | None]
"""By the exact type of a value: None, if all of them come back unchanged; else what tells whether one does."""
Schema = Mapping[str, Any]
Definitions = Mapping[str, Schema]
Prover = Callable[[Schema, Definitions], Proof]

_UNPROVEN: Proof = {}
_ABSENT: Final = object()
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_MINUTE = timedelta(minutes=1)
_ZONES = (timezone, TzInfo, ZoneInfo)
_TOLD_APART = frozenset({int, str, bool, float, NoneType})  # by JSON itself


def proof_of(schema: Any) -> Proof:
    """Return the proof of a type; it takes for granted that texts can be encoded, and that numbers are not too long.

    Args:
        schema: Pydantic's core schema of the type.
    """
    if schema["type"] != "definitions":
        return _proof(schema, {})
    return _proof(schema["schema"], {each["ref"]: each for each in schema["definitions"]})


def doubted(_: Any) -> bool:
    """Tell of a value of any other type that it may come back different."""
    return False


def _proof(schema: Schema, known: Definitions) -> Proof:
    kind = schema["type"]
    if kind == "definition-ref":
        ref = schema["schema_ref"]
        others = {name: each for name, each in known.items() if name != ref}  # a type that contains itself has no end
        return _proof(known[ref], others) if ref in known else _UNPROVEN
    if kind not in _PROVERS:
        return _UNPROVEN
    keys, prove = _PROVERS[kind]
    return prove(schema, known) if schema.keys() <= keys else _UNPROVEN


def _all(values: Iterable[Any], proof: Proof) -> bool:
    for value in values:
        holds = proof.get(type(value), doubted)
        if holds is not None and not holds(value):
            return False
    return True


def _model(schema: Schema, known: Definitions) -> Proof:
    inner, config = schema["schema"], schema["config"]
    if schema["custom_init"] or schema["root_model"] or inner["type"] != "model-fields" or inner["computed_fields"]:
        return _UNPROVEN
    if not (inner.keys() <= _FIELDS and config.keys() <= _CONFIG) or config.get("extra_fields_behavior") == "allow":
        return _UNPROVEN
    fields = inner["fields"].items()
    proofs = {name: _proof(each["schema"], known) for name, each in fields if each.keys() <= _FIELD}
    if len(proofs) < len(fields) or not all(proofs.values()):
        return _UNPROVEN
    return {schema["cls"]: _telling_of_models(proofs)}


def _telling_of_models(fields: dict[str, Proof]) -> Callable[[Any], bool]:
    items, count = tuple(fields.items()), len(fields)

    def holds(value: Any) -> bool:
        parts = value.__dict__
        if len(parts) != count:  # a cached property keeps something there, or somebody else
            return False
        for name, proof in items:
            part = parts.get(name, _ABSENT)
            part_holds = proof.get(type(part), doubted)
            if part_holds is not None and not part_holds(part):
                return False
        return True

    return holds


def _items_of(kind: type) -> Prover:
    """Return what proves collections of items of one type."""

    def prove(schema: Schema, known: Definitions) -> Proof:
        items = _proof(schema["items_schema"], known)
        return {kind: lambda value: _all(value, items)} if items else _UNPROVEN

    return prove


def _dict(schema: Schema, known: Definitions) -> Proof:
    keys, values = _proof(schema["keys_schema"], known), _proof(schema["values_schema"], known)
    if keys != {str: None} or not values:
        return _UNPROVEN
    return {dict: lambda value: all(map(_is_key, value)) and _all(value.values(), values)}


def _is_key(key: Any) -> bool:
    """Tell whether a key is a text that can be encoded: of half a surrogate pair, pydantic makes another one."""
    return type(key) is str and (key.isascii() or not _HALF_PAIR.search(key))


def _inner(schema: Schema, known: Definitions) -> Proof:
    return _proof(schema["schema"], known)


def _nullable(schema: Schema, known: Definitions) -> Proof:
    proof = _proof(schema["schema"], known)
    return {**proof, NoneType: None} if proof else _UNPROVEN


def _union(schema: Schema, known: Definitions) -> Proof:
    proofs = [_proof(each, known) for each in schema["choices"]]
    if not all(proof and _TOLD_APART.issuperset(proof) for proof in proofs):
        return _UNPROVEN
    return {kind: holds for proof in proofs for kind, holds in proof.items()}


def _literal(schema: Schema, _: Definitions) -> Proof:
    expected = frozenset(schema["expected"])
    return {str: expected.__contains__} if {str}.issuperset(map(type, expected)) else _UNPROVEN


def _enum(schema: Schema, _: Definitions) -> Proof:
    values = {type(member.value) for member in schema["members"]}
    return {schema["cls"]: None} if values in ({str}, {int}) and not issubclass(schema["cls"], Flag) else _UNPROVEN


def _is_written_whole(moment: datetime) -> bool:
    if moment.tzinfo is None:
        return not moment.fold
    offset = moment.utcoffset() if type(moment.tzinfo) in _ZONES else _MINUTE / 2
    return not offset or not offset % _MINUTE


_HARMLESS = frozenset({"type", "metadata", "ref"})
_FIELD = frozenset({"type", "metadata", "schema"})
_FIELDS = frozenset({"type", "model_name", "fields", "computed_fields"})
_CONFIG = frozenset(
    {
        "title",
        "extra_fields_behavior",
        "from_attributes",
        "hide_input_in_errors",
        "revalidate_instances",
        "validate_by_alias",
        "validate_by_name",
        "validate_default",
    }
)


def _each(kind: type, holds: Callable[[Any], bool] | None = None) -> Prover:
    return lambda _, __: {kind: holds}


# By the type of a schema: its keys that change nothing, or that the prover looks at; and the prover.
_PROVERS: dict[str, tuple[frozenset[str], Prover]] = {
    kind: (_HARMLESS.union(keys), prove)
    for kind, prove, *keys in (
        ("int", _each(int)),
        ("str", _each(str)),
        ("bool", _each(bool)),
        ("none", _each(NoneType)),
        ("float", _each(float, isfinite)),
        ("decimal", _each(Decimal, Decimal.is_finite)),
        ("uuid", _each(UUID)),
        ("date", _each(date)),
        ("datetime", _each(datetime, _is_written_whole), "microseconds_precision"),
        ("literal", _literal, "expected"),
        ("enum", _enum, "cls", "members", "sub_type"),
        ("nullable", _nullable, "schema"),
        ("default", _inner, "schema", "default", "default_factory", "default_factory_takes_data"),
        ("union", _union, "choices"),
        ("list", _items_of(list), "items_schema"),
        ("set", _items_of(set), "items_schema"),
        ("frozenset", _items_of(frozenset), "items_schema"),
        ("dict", _dict, "keys_schema", "values_schema"),
        ("model", _model, "cls", "schema", "config", "custom_init", "root_model", "generic_origin"),
    )
}
