"""Many look-ups of handled events share few reads."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import StoreUnavailableError
from daemon.store.inbox import Inbox
from daemon.store.sqlite import SqliteStore
from daemon.store.writes import RecordHandled

KEY = ("shop", "note-order", "till", "order.placed")


async def test_look_ups_of_one_turn_share_a_read_and_each_gets_its_own_answer() -> None:
    reads: list[Sequence[tuple[Any, ...]]] = []

    async def read(keys: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
        reads.append(keys)
        await asyncio.sleep(0)
        return [(at, b"") for at, key in enumerate(reads[-1]) if key[-1].endswith("0")]

    inbox = Inbox(read)
    answers = [await answer for answer in [inbox.body_hash(*KEY, f"e{at}") for at in range(20)]]

    assert [at for at, answer in enumerate(answers) if answer is not None] == [0, 10]
    assert [len(keys) for keys in reads] == [20]


async def test_a_read_that_fails_fails_those_that_shared_it_and_not_the_next() -> None:
    errors = [StoreUnavailableError("away")]

    async def read(_: object) -> Sequence[tuple[Any, ...]]:
        if errors:
            raise errors.pop()
        return [(0, b"")]

    inbox = Inbox(read)
    failed = [inbox.body_hash(*KEY, "e1"), inbox.body_hash(*KEY, "e2")]
    for answer in failed:
        with pytest.raises(StoreUnavailableError):
            await answer

    assert await inbox.body_hash(*KEY, "e1") == b""


async def test_whatever_an_id_holds_is_looked_up_as_it_was_recorded(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "shop.db")
    await store.open()
    ids = ['"', "'", "\\", "a,b", "[]", "é", "\U0001f600", " ", "\t\n", "null", "1", "%", "x" * 255]
    for id in ids:
        await store.commit(RecordHandled(*KEY, id, 0))

    found = [await answer for answer in [store._inbox.body_hash(*KEY, id) for id in ids]]
    other = [await store.handled("shop", "other", *KEY[2:], id) for id in ids]
    await store.aclose()

    assert found == [b""] * len(ids)
    assert other == [None] * len(ids)
