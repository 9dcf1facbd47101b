"""Values and their types."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from daemon.workflow.codec import Codec, taken

LIMIT = 1 << 20


SECRET = "hunter2-swordfish"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Kind(StrEnum):
    A = "a"


class Line(BaseModel):
    sku: str
    price: Decimal


class Order(BaseModel):
    id: UUID
    placed: datetime
    day: date
    for_: timedelta = Field(alias="for")
    lines: list[Line]
    tags: set[str]
    by_colour: dict[Colour, int]
    pair: tuple[int, Line]
    note: str | None = None

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)


MOMENT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)


LINE = Line(sku="A-1", price=Decimal("1.10"))


ORDER = Order(
    id=UUID(int=1),
    placed=MOMENT,
    day=date(2026, 3, 29),
    for_=timedelta(days=1, microseconds=1),
    lines=[LINE],
    tags={"a", "b"},
    by_colour={Colour.RED: 1},
    pair=(1, LINE),
)


def round_trip(value: Any, type_: Any) -> Any:
    """Return a value as a step after a crash gets it: from its stored JSON alone."""
    data, _ = Codec(type_).hold(value, LIMIT, "the value")
    return taken(Codec(type_).restore(data))


class Socket:
    """Has no JSON form."""
