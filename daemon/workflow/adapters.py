"""What turns values of a declared type into JSON and back: pydantic's own, built once for each type."""

import re
import types
from functools import lru_cache
from typing import Any, NamedTuple, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import CoreConfig, SchemaSerializer, SchemaValidator

from daemon.errors import CodecError
from daemon.workflow.faithful import Proof, proof_of

_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
_BASE64 = CoreConfig(ser_json_bytes="base64", val_json_bytes="base64")
_WITH_CONFIG = frozenset({"model", "dataclass", "typed-dict"})


class Adapter(NamedTuple):
    """What encodes and decodes values of a type, and which of them are known to come back as what they are."""

    serializer: SchemaSerializer
    validator: Any
    proof: Proof


def adapter_of(type_: Any) -> Adapter:
    """Return what encodes and decodes values of a type.

    Raises:
        CodecError: The type has no JSON form.
    """
    try:
        return _cached(type_)
    except TypeError:  # unhashable annotation
        return _build(type_)


@lru_cache(maxsize=4096)
def _cached(type_: Any) -> Adapter:
    return _build(type_)


def _build(type_: Any) -> Adapter:
    try:
        try:
            adapter = TypeAdapter[Any](type_, config=_CONFIG)
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise
            adapter = TypeAdapter[Any](type_)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise CodecError(
            f"{type_name(type_)} has no JSON form: {str(error).partition(chr(10))[0]} Use a pydantic model, a "
            "dataclass or plain data, and get live objects from the container instead."
        ) from None
    schema: Any = adapter.core_schema
    proof = proof_of(schema)
    if not _has_bytes(schema):
        return Adapter(adapter.serializer, adapter.validator, proof)
    schema = _with_base64(schema)
    # Without what pydantic has built for each model, which goes by the model's own configuration alone.
    return Adapter(SchemaSerializer(schema, _BASE64, False), SchemaValidator(schema, _BASE64, False), proof)  # noqa: FBT003


def _has_bytes(schema: Any) -> bool:
    if isinstance(schema, dict):
        return schema.get("type") == "bytes" or any(map(_has_bytes, schema.values()))
    return isinstance(schema, (list, tuple)) and any(map(_has_bytes, schema))


def _with_base64(schema: Any) -> Any:
    """Return a schema in which the bytes of models are base64, too, unless the model itself says what they are."""
    if isinstance(schema, dict):
        found = {key: _with_base64(value) for key, value in schema.items()}
        if found.get("type") in _WITH_CONFIG:
            found["config"] = {**_BASE64, **(found.get("config") or {})}
        return found
    if isinstance(schema, (list, tuple)):
        return type(schema)(map(_with_base64, schema))
    return schema


def type_name(type_: Any) -> str:
    """Return a type as it is written in code."""
    return type_.__qualname__ if isinstance(type_, type) and not get_args(type_) else str(type_).replace("typing.", "")


def type_text(type_: Any) -> str:
    """Return a type with the modules of its classes, the same in every process: it is found again by that."""
    origin, arguments = get_origin(type_), get_args(type_)
    if isinstance(type_, type) and not arguments:
        return f"{type_.__module__}:{type_.__qualname__}"
    if origin in (Union, types.UnionType):
        return " | ".join(map(type_text, arguments))
    if isinstance(origin, type):
        return f"{type_text(origin)}[{', '.join(map(type_text, arguments))}]"
    return _ADDRESS.sub("", repr(type_))


_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
