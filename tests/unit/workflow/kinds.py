"""Types of values that codecs are tried with."""

from enum import Flag, IntEnum, StrEnum

from pydantic import BaseModel


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Kind(StrEnum):
    A = "a"


class Right(Flag):
    READ = 1
    WRITE = 2


class Text(str):
    """Equal to a text, and none."""

    __slots__ = ()


class Number(int):
    """Equal to a number, and none."""


class Line(BaseModel):
    sku: str
    count: int = 1
