import httpx
import pytest

from daemon.http import views
from tests.unit.http.conftest import Shop, problem_of, wrong_fields


async def test_jobs_are_listed_as_the_api_describes_them(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/jobs")

    items = answer.json()["items"]
    assert answer.status_code == 200
    assert [(each["name"], each["state"], len(each["next"])) for each in items] == [
        ("nightly", "active", 3),
        ("off", "disabled", 0),
    ]
    assert [views.Job.model_validate(each).model_dump().keys() == each.keys() for each in items] == [True, True]


async def test_a_job_is_triggered_once_and_its_firing_is_listed(client: httpx.AsyncClient) -> None:
    first = await client.post("/api/jobs/nightly/trigger", json={"by": "ann", "reason": "a test"})
    second = await client.post("/api/jobs/nightly/trigger")

    problem = problem_of(second, 409)
    firing = first.json()
    assert first.status_code == 202
    assert (firing["state"], firing["trigger"], firing["by"], firing["reason"]) == (
        "waiting",
        "manual",
        "ann",
        "a test",
    )
    assert views.Firing.model_validate(firing).model_dump().keys() == firing.keys()
    assert "its overlap is 'skip'" in problem["detail"]
    page = (await client.get("/api/jobs/nightly/firings", params={"state": "waiting"})).json()
    assert page == {"items": [firing], "next": None}
    assert (await client.get("/api/jobs/nightly/firings", params={"state": "failed"})).json()["items"] == []


async def test_firings_and_orders_come_page_by_page(client: httpx.AsyncClient) -> None:
    for action in ("pause", "resume", "trigger"):
        await client.post(f"/api/jobs/nightly/{action}", json={"by": action})

    first = (await client.get("/api/jobs/nightly/orders", params={"limit": 2})).json()
    rest = (await client.get("/api/jobs/nightly/orders", params={"limit": 2, "after": first["next"]})).json()

    assert [each["by"] for each in (*first["items"], *rest["items"])] == ["trigger", "resume", "pause"]
    assert rest["next"] is None
    assert views.JobOrders.model_validate(first).next == first["next"]


async def test_pausing_and_resuming_answer_with_the_job_and_may_be_repeated(client: httpx.AsyncClient) -> None:
    paused = await client.post("/api/jobs/nightly/pause", json={"by": "ann", "reason": "deploying"})
    again = await client.post("/api/jobs/nightly/pause")
    resumed = await client.post("/api/jobs/nightly/resume")

    assert [each.status_code for each in (paused, again, resumed)] == [200, 200, 200]
    assert (paused.json()["state"], paused.json()["paused"]["by"]) == ("paused", "ann")
    assert again.json()["paused"] == paused.json()["paused"]
    assert (resumed.json()["state"], resumed.json()["paused"]) == ("active", None)


async def test_a_job_that_is_turned_off_is_not_triggered(client: httpx.AsyncClient) -> None:
    problem = problem_of(await client.post("/api/jobs/off/trigger"), 409)

    assert problem["detail"].endswith("take out jobs.off.enabled = false first.")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "firings"),
        ("GET", "orders"),
        ("POST", "trigger"),
        ("POST", "pause"),
        ("POST", "resume"),
    ],
)
async def test_a_job_that_nobody_knows_is_a_404(client: httpx.AsyncClient, method: str, path: str) -> None:
    problem = problem_of(await client.request(method, f"/api/jobs/nigthly/{path}"), 404)

    assert problem["detail"] == "No job has the name 'nigthly'. Did you mean 'nightly'?"


async def test_every_wrong_field_is_named(client: httpx.AsyncClient) -> None:
    order = await client.post("/api/jobs/nightly/pause", json={"by": "a\nb", "reason": "x" * 501, "until": "noon"})
    query = await client.get("/api/jobs/nightly/firings", params={"state": "gone", "after": "x", "limit": 0})

    assert set(wrong_fields(order)) == {"by", "reason", "until"}
    assert set(wrong_fields(query)) == {"state", "after", "limit"}


async def test_nothing_is_ordered_while_the_store_is_away(shop: Shop, client: httpx.AsyncClient) -> None:
    shop.away_for.add("/api/jobs/nightly/trigger")

    problem_of(await client.post("/api/jobs/nightly/trigger"), 503)

    assert (await client.get("/api/jobs/nightly/orders")).json()["items"] == []
