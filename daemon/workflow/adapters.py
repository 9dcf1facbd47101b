"""What turns values of a declared type into JSON and back: pydantic's own, built once for each type."""

import re
import sys
import types
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import (
    CoreConfig,
    PydanticCustomError,
    PydanticSerializationUnexpectedValue,
    SchemaSerializer,
    SchemaValidator,
    ValidationError,
    core_schema,
)

from daemon.errors import CodecError
from daemon.workflow.faithful import Proof, proof_of
from daemon.workflow.typed_dicts import portable

if TYPE_CHECKING:
    from enum import Enum

_LACKS_TYPED_DICTS = sys.version_info < (3, 12)
_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
_BASE64 = CoreConfig(ser_json_bytes="base64", val_json_bytes="base64")
_PLAIN = frozenset({int, str, float, bool, types.NoneType})
_NO_DATA = {
    "generator": "it is read once and then gone. Declare list[...] for it.",
    "callable": "a function is no data.",
    "is-subclass": "a class is no data.",
}
_NEW_LINE = "\n"
_INSTEAD = "Use a pydantic model, a dataclass or plain data, and get live objects from the container instead."
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
        return _cached(type_, "" if isinstance(type_, type) else repr(type_))
    except TypeError:  # unhashable annotation
        return _build(type_)


@lru_cache(maxsize=4096)
def _cached(type_: Any, _: str) -> Adapter:
    """Return what was built for a type; unions of another order are equal, and read differently: their texts differ."""
    return _build(type_)


def _build(type_: Any) -> Adapter:
    kind = portable(type_) if _LACKS_TYPED_DICTS else type_
    try:
        adapter = _adapter(kind)
        adapter.rebuild()
        schema: Any = adapter.core_schema
    except PydanticSchemaGenerationError as error:
        said = str(error).partition(" Set `arbitrary_types_allowed")[0]
        raise CodecError(f"{type_name(type_)} has no JSON form: {said} {_INSTEAD}") from None
    except PydanticUserError as error:
        raise CodecError(f"{type_name(type_)} has no JSON form: {str(error).partition(_NEW_LINE)[0]}") from None
    except PydanticUndefinedAnnotation as error:
        said = f"{error.name!r}, which it names, is not defined yet. Define that above what uses it, at module level."
        raise CodecError(f"{type_name(type_)} has no JSON form: {said}") from None
    if schema["type"] in _NO_DATA:
        raise CodecError(f"{type_name(type_)} has no JSON form: {_NO_DATA[schema['type']]} {_INSTEAD}")
    proof = proof_of(schema)
    if not _is_special(schema):
        return Adapter(adapter.serializer, adapter.validator, proof)
    schema = _storable(schema)
    # Without what pydantic has built for each model, which goes by the model's own configuration alone.
    return Adapter(SchemaSerializer(schema, _BASE64, False), SchemaValidator(schema, _BASE64, False), proof)  # noqa: FBT003


def _adapter(type_: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter[Any](type_, config=_CONFIG)
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        return TypeAdapter[Any](type_)


def _is_special(schema: Any) -> bool:
    """Tell whether there is something in a schema that `_storable` changes."""
    if isinstance(schema, dict):
        return (
            schema.get("type") == "bytes"
            or _is_odd_enum(schema)
            or bool(schema.get("computed_fields"))
            or schema.get("ser_json_inf_nan") == "constants"
            or any(map(_is_special, schema.values()))
        )
    return isinstance(schema, (list, tuple)) and any(map(_is_special, schema))


def _storable(schema: Any, extra: str | None = None) -> Any:
    """Return a schema whose JSON can be read again.

    Bytes are base64 in models, too, unless the model itself says what they are; an infinite float, that a model wants
    as a constant, is a text, since JSON has no such constants; computed fields are left out where a model would take
    them for extra ones (`extra` of the model around); members of an enum whose values are no JSON go by their names.
    """
    if isinstance(schema, (list, tuple)):
        return type(schema)(_storable(each, extra) for each in schema)
    if not isinstance(schema, dict):
        return schema
    if _is_odd_enum(schema):
        return _by_name(schema)
    has_config = schema.get("type") in _WITH_CONFIG
    config: dict[str, Any] = schema.get("config") or {}
    if has_config:
        extra = config.get("extra_fields_behavior", "ignore")
    found = {key: _storable(value, extra) for key, value in schema.items()}
    if has_config:
        found["config"] = {**_BASE64, **config}
    if config.get("ser_json_inf_nan") == "constants":
        found["config"]["ser_json_inf_nan"] = "strings"
    if "computed_fields" in schema and extra != "ignore":
        found["computed_fields"] = []
    return found


def _is_odd_enum(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "enum" and not _PLAIN.issuperset(type(each.value) for each in schema["members"])


def _by_name(schema: Any) -> core_schema.CoreSchema:
    """Return the schema of an enum whose members are written by name; those that can be told by value still are."""
    enum: type[Enum] = schema["cls"]
    names = {member.name: member for member in enum}

    def read(value: Any, read_value: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, str) and value in names:
            return names[value]
        try:
            return read_value(value)
        except ValidationError:
            known = {"expected": " or ".join(map(repr, names))}
            raise PydanticCustomError("enum", "Input should be {expected}", known) from None

    def write(member: Any) -> str:
        if isinstance(member, enum):
            return member.name
        raise PydanticSerializationUnexpectedValue(f"Expected `{enum.__name__}`, input_type={type(member).__name__}")

    written = core_schema.plain_serializer_function_ser_schema(write)
    by_value = {key: value for key, value in schema.items() if key != "ref"}
    return core_schema.no_info_wrap_validator_function(read, by_value, ref=schema.get("ref"), serialization=written)


def type_name(type_: Any) -> str:
    """Return a type as it is written in code, but for the modules, and what `Annotated` says."""
    origin, arguments = get_origin(type_), get_args(type_)
    if origin is Annotated:
        return type_name(arguments[0])
    if isinstance(type_, type) and not arguments:
        return type_.__qualname__
    if origin in (Union, types.UnionType):
        return " | ".join("None" if each is types.NoneType else type_name(each) for each in arguments)
    if isinstance(origin, type) and arguments:
        return f"{origin.__qualname__}[{', '.join('...' if each is ... else type_name(each) for each in arguments)}]"
    return str(type_).replace("typing.", "")


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
