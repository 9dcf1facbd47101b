import json
from typing import Any

import httpx
import pytest

from daemon.events.model import DeadReason
from daemon.trace import Trace
from tests.unit.http.conftest import LIMIT_BYTES, Shop, problem_of, wrong_fields

JSON = {"content-type": "application/json"}


async def publish(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post("/api/events", json=body)


async def dead_letter(shop: Shop, client: httpx.AsyncClient, **body: Any) -> None:
    await publish(client, **{"name": "customer.created", **body})
    delivery = await shop.next_delivery()
    await delivery.dead_letter(DeadReason.REJECTED, error="Reject: no", traceback="...")


async def test_an_event_is_answered_202_with_its_id_and_delivered(shop: Shop, client: httpx.AsyncClient) -> None:
    data = {"id": "c1", "name": "Adä", "n": 1.5}

    answer = await publish(client, name="customer.created", data=data)

    delivery = await shop.next_delivery()
    envelope = delivery.message.envelope
    assert (answer.status_code, answer.json()) == (202, {"id": envelope.id})
    assert json.loads(delivery.message.body) == data
    assert (envelope.name, envelope.source) == ("customer.created", "shop")


async def test_an_event_keeps_the_id_and_source_that_it_is_given(shop: Shop, client: httpx.AsyncClient) -> None:
    answer = await publish(client, name="customer.created", data={}, id="e/1", source="till")

    envelope = (await shop.next_delivery()).message.envelope
    assert answer.json() == {"id": "e/1"}
    assert (envelope.id, envelope.source) == ("e/1", "till")


@pytest.mark.parametrize("given", [True, False])
async def test_an_event_belongs_to_the_trace_of_its_request(
    shop: Shop, client: httpx.AsyncClient, *, given: bool
) -> None:
    headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01" if given else "00-x", "tracestate": "v=1"}

    answer = await client.post("/api/events", json={"name": "customer.created", "data": {}}, headers=headers)

    trace = Trace.given((await shop.next_delivery()).message.envelope.headers)
    assert answer.status_code == 202
    assert trace is not None
    assert (trace.id == "a" * 32, trace.state) == (given, "v=1" if given else "")


async def test_an_event_that_nobody_wants_is_a_202(client: httpx.AsyncClient) -> None:
    answer = await publish(client, name="nobody.asked", data=None)

    assert answer.status_code == 202


async def test_every_wrong_field_of_an_event_is_named_without_its_value(client: httpx.AsyncClient) -> None:
    answer = await publish(client, name="s3cret name", id="", source="s3\x00cret", datum={})

    assert set(wrong_fields(answer)) == {"name", "data", "id", "source", "datum"}
    assert "s3" not in answer.text


async def test_an_id_is_measured_in_bytes(client: httpx.AsyncClient) -> None:
    answer = await publish(client, name="customer.created", data={}, id="ä" * 200)

    assert set(wrong_fields(answer)) == {"id"}


async def test_a_payload_that_grows_above_the_limit_is_a_413(client: httpx.AsyncClient) -> None:
    numbers = ",".join(["1e15"] * 300)
    body = f'{{"name": "customer.created", "data": [{numbers}]}}'

    answer = await client.post("/api/events", content=body, headers=JSON)

    assert len(body) < LIMIT_BYTES
    problem_of(answer, 413)


@pytest.mark.parametrize(
    "body",
    ["", "{", '{"name": "a.b", "data": }', "[" * 1_900, '{"data": NaN}', '"\\ud800"', b"\xff\xfe", "[]", "null", "5"],
    ids=str,
)
async def test_a_body_that_is_no_json_object_is_a_422_and_the_next_one_is_taken(
    client: httpx.AsyncClient, body: str | bytes
) -> None:
    answer = await client.post("/api/events", content=body, headers=JSON)

    problem_of(answer, 422)
    assert (await publish(client, name="a.b", data={})).status_code == 202


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "a/b/c"]
)
async def test_a_body_that_does_not_say_it_is_json_is_a_422(client: httpx.AsyncClient, kind: str) -> None:
    content = b'{"name": "a.b", "data": {}}'

    answer = await client.post("/api/events", content=content, headers={"content-type": kind} if kind else {})

    assert "application/json" in problem_of(answer, 422)["detail"]


async def test_json_may_name_its_charset(client: httpx.AsyncClient) -> None:
    kind = {"content-type": "Application/JSON; charset=utf-8"}

    answer = await client.post("/api/events", content=b'{"name": "a.b", "data": {}}', headers=kind)

    assert answer.status_code == 202


async def test_subscribers_are_listed_with_their_queues(shop: Shop, client: httpx.AsyncClient) -> None:
    await dead_letter(shop, client, data={})

    answer = await client.get("/api/subscribers")

    assert answer.json()["items"] == [
        {
            "id": "greet",
            "events": ["customer.*"],
            "state": "paused",
            "trouble": "it sleeps",
            "ready": 0,
            "in_flight": 0,
            "consumers": None,
            "dead_letters": 1,
        }
    ]


async def test_dead_letters_are_listed_with_their_reason_and_stay(shop: Shop, client: httpx.AsyncClient) -> None:
    await dead_letter(shop, client, data={"id": "c1"}, id="e1")

    first = (await client.get("/api/dead-letters", params={"subscriber": "greet"})).json()
    again = (await client.get("/api/dead-letters")).json()

    assert first == again
    letter = first["items"][0]
    assert (letter["event_id"], letter["event_name"], letter["source"]) == ("e1", "customer.created", "shop")
    assert (letter["reason"], letter["error"], letter["attempts"]) == ("rejected", "Reject: no", 1)
    assert letter["data"] == {"id": "c1"}


async def test_dead_letters_are_replayed_by_id(shop: Shop, client: httpx.AsyncClient) -> None:
    await dead_letter(shop, client, data={}, id="e1")
    await dead_letter(shop, client, data={}, id="e2")

    answer = await client.post("/api/dead-letters/replay", json={"subscriber": "greet", "ids": ["e2", "nobody"]})

    delivery = await shop.next_delivery()
    assert (answer.status_code, answer.json()) == (200, {"replayed": 1})
    assert (delivery.message.envelope.id, delivery.attempt) == ("e2", 1)
    left = (await client.get("/api/dead-letters")).json()["items"]
    assert [letter["event_id"] for letter in left] == ["e1"]


async def test_all_dead_letters_are_discarded(shop: Shop, client: httpx.AsyncClient) -> None:
    await dead_letter(shop, client, data={}, id="e1")
    await dead_letter(shop, client, data={}, id="e2")

    answer = await client.post("/api/dead-letters/discard", json={"subscriber": "greet", "all": True})

    assert (answer.status_code, answer.json()) == (200, {"discarded": 2})
    assert (await client.get("/api/dead-letters")).json() == {"items": []}


async def test_dead_letters_are_listed_and_replayed_by_their_error_at_a_rate(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    await dead_letter(shop, client, data={}, id="e1")

    others = (await client.get("/api/dead-letters", params={"error": "timeout"})).json()["items"]
    listed = (await client.get("/api/dead-letters", params={"error": "REJECT"})).json()["items"]
    none = await client.post("/api/dead-letters/replay", json={"subscriber": "greet", "error": "timeout"})
    one = await client.post("/api/dead-letters/replay", json={"subscriber": "greet", "error": "no", "rate": 5.5})

    assert (others, [letter["event_id"] for letter in listed]) == ([], ["e1"])
    assert (none.json(), one.json()) == ({"replayed": 0}, {"replayed": 1})


@pytest.mark.parametrize("rate", [0, -1, "fast"])
async def test_a_rate_is_above_zero(client: httpx.AsyncClient, rate: object) -> None:
    answer = await client.post("/api/dead-letters/replay", json={"subscriber": "greet", "all": True, "rate": rate})

    assert set(wrong_fields(answer)) == {"rate"}


@pytest.mark.parametrize("choice", [{}, {"ids": ["e1"], "all": True}, {"error": "no", "all": True}, {"all": False}])
@pytest.mark.parametrize("verb", ["replay", "discard"])
async def test_what_to_replay_or_discard_is_said_in_one_way(
    shop: Shop, client: httpx.AsyncClient, verb: str, choice: dict[str, object]
) -> None:
    await dead_letter(shop, client, data={}, id="e1")

    answer = await client.post(f"/api/dead-letters/{verb}", json={"subscriber": "greet", **choice})

    assert wrong_fields(answer) == {"body": "Needs either ids, error, or both; or all: true"}
    assert len((await client.get("/api/dead-letters")).json()["items"]) == 1


async def test_a_subscriber_that_nobody_has_is_a_404_with_a_guess(client: httpx.AsyncClient) -> None:
    listed = await client.get("/api/dead-letters", params={"subscriber": "greed"})
    replayed = await client.post("/api/dead-letters/replay", json={"subscriber": "greed", "all": True})

    assert "Did you mean 'greet'?" in problem_of(listed, 404)["detail"]
    assert "Did you mean 'greet'?" in problem_of(replayed, 404)["detail"]
