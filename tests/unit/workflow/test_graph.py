"""A graph is the same in every process, tells what it is made of, and draws itself."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from importlib import reload
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from daemon import Ref, Retry, step, transform, workflow
from daemon.workflow.codec import ANY
from tests.unit.workflow import graphs

ROOT = Path(__file__).parents[3]
LIMIT_BYTES = 10_000


class Money(BaseModel):
    cents: int


@step("charge")
async def charge(money: Money) -> Money:
    return money


@step("count")
async def count() -> int:
    return 1


def hash_in_another_process(seed: str) -> str:
    code = "from tests.unit.workflow.graphs import place_order; print(place_order.graph.hash)"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_hash_is_the_same_in_every_process() -> None:
    hashes = {graphs.place_order.graph.hash, hash_in_another_process("1"), hash_in_another_process("2")}

    assert len(hashes) == 1
    assert len(hashes.pop()) == 32


def test_a_hash_is_the_same_after_a_reload() -> None:
    before = graphs.place_order

    again = reload(graphs).place_order

    assert again is not before
    assert again.graph.hash == before.graph.hash
    assert again.graph == before.graph
    assert len({again.graph, before.graph}) == 1


def test_a_graph_is_frozen_and_equal_to_none_that_does_something_else() -> None:
    graph: Any = graphs.place_order.graph

    with pytest.raises(AttributeError):
        graph.nodes = ()
    with pytest.raises(AttributeError):
        graph.nodes[0].name = "another"
    assert workflow("another-order")(graphs.place_order.fn).graph != graph
    assert graph != graph.describe()


def test_what_a_graph_is_made_of_changes_its_hash() -> None:
    @workflow("plain")
    def plain(money: Ref[Money]) -> Ref[Money]:
        return charge(money)

    @workflow("with-a-pick")
    def with_a_pick(money: Ref[Money]) -> Ref[Any]:
        return charge(money).pick(lambda m: m.cents)

    @workflow("with-options")
    def with_options(money: Ref[Money]) -> Ref[Money]:
        return charge.options(retry=Retry(max_attempts=2))(money)

    @workflow("with-another-name")
    def with_another_name(money: Ref[Money]) -> Ref[Money]:
        return charge.named("charge-it")(money)

    @workflow("with-a-constant")
    def with_a_constant(_: Ref[Money]) -> Ref[Money]:
        return charge(Money(cents=1))

    flows = (plain, with_a_pick, with_options, with_another_name, with_a_constant)
    described = {json.dumps({**flow.graph.describe(), "workflow": ""}) for flow in flows}
    assert len(described) == 5
    assert len({flow.graph.hash for flow in flows}) == 5


def test_another_body_of_a_function_changes_the_hash_and_not_the_description() -> None:
    def composed(number: int) -> Any:
        functions = {1: lambda c: c + 1, 2: lambda c: c + 2}

        def composition() -> Ref[int]:
            return transform(count(), functions[number])

        return workflow("changing")(composition).graph

    one, two = composed(1), composed(2)

    assert one.describe() == two.describe()
    assert one.hash != two.hash


def test_a_description_names_functions_edges_and_options() -> None:
    described: Any = graphs.place_order.graph.describe()

    assert json.loads(graphs.place_order.graph.json)["nodes"] == json.loads(json.dumps(described["nodes"]))
    assert described["workflow"] == "graph-place-order"
    assert described["result"] == {"from": "receipt", "path": ""}
    reserve, group, sold, receipt = described["nodes"]
    assert reserve == {
        "kind": "step",
        "name": "reserve",
        "inputs": [{"from": "", "path": ".lines[0].sku"}],
        "function": "tests.unit.workflow.graphs:reserve",
        "compensation": "tests.unit.workflow.graphs:release",
        "options": {
            "retry": [4, 1.0, 300.0, 2.0, 0.1, ["builtins:KeyError", "builtins:ValueError"]],
            "compensation_retry": [5, 1.0, 300.0, 2, 0.0, []],
            "timeout_s": 10.0,
            "idempotent": True,
            "on_failure": "rollback",
            "external": False,
        },
    }
    assert group["kind"] == "parallel"
    assert [member["name"] for member in group["members"]] == ["charge", "label"]
    assert group["members"][1]["inputs"] == [{"value": '{"sku":"gift"}'}]
    assert sold["name"] == "transform-1"
    assert receipt["inputs"] == [{"from": "charge", "path": ""}, {"from": "label", "path": ""}]
    assert receipt["function"] == "tests.unit.workflow.graphs:place_order.<locals>.<lambda>"


def test_functions_of_every_kind_can_be_transforms() -> None:
    @workflow("functions")
    def functions() -> None:
        one = count()
        transform(one, str.upper)  # type: ignore[arg-type]
        transform(one, len)  # type: ignore[arg-type]
        transform(one, itemgetter("a"))  # type: ignore[arg-type]
        transform(one, timedelta)

    names = [str(node.describe()["function"]) for node in functions.graph.nodes[1:]]
    assert names == ["builtins:str.upper", "builtins:len", "operator:itemgetter", "datetime:timedelta"]
    assert len(functions.graph.hash) == 32


def test_mermaid_draws_order_groups_and_compensations() -> None:
    assert graphs.place_order.graph.to_mermaid().splitlines() == [
        "flowchart TD",
        '    start(["graph-place-order"])',
        '    n1["reserve"]',
        "    start --> n1",
        '    n1 -. undo .-> n1u("release")',
        '    n2["charge"]',
        "    n1 --> n2",
        '    n3["label"]',
        "    n1 --> n3",
        '    n4[/"transform-1"/]',
        "    n2 --> n4",
        "    n3 --> n4",
        '    n5[/"receipt"/]',
        "    n4 --> n5",
        '    done(["end"])',
        "    n5 --> done",
    ]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ('say "yes"', "say #quot;yes#quot;"),
        ("`code` **x**", "#96;code#96; **x**"),
        ("%%{init}%%", "#37;#37;#123;init#125;#37;#37;"),
        ("<b>&amp;</b>", "#60;b#62;#38;amp#59;#60;/b#62;"),
        ("#quot;", "#35;quot#59;"),
        ("a\\nb", "a#92;nb"),
        ("größer, 2 (zwei) 漢", "größer, 2 (zwei) 漢"),
    ],
)
def test_mermaid_reads_no_markup_in_a_name(name: str, label: str) -> None:
    @workflow("marked")
    def marked(money: Ref[Money]) -> None:
        transform(money, lambda m: m.cents, name=name)

    assert f'[/"{label}"/]' in marked.graph.to_mermaid()


def test_a_workflow_of_nothing_is_a_graph() -> None:
    @workflow("nothing-at-all")
    def nothing() -> None: ...

    assert nothing.graph.to_mermaid().splitlines()[-1] == "    start --> done"
    assert nothing.graph.hold_result([None], LIMIT_BYTES) is None


def test_a_structured_result_is_stored_and_comes_back_as_it_was_written() -> None:
    @workflow("structured")
    def structured(money: Ref[Money]) -> Any:
        charged = charge(money)
        return {"money": charged, "parts": [(charged.pick(lambda m: m.cents), 7), [], {"plain": None}], "3": count()}

    graph = structured.graph
    values = [None, ANY.hold({"cents": 5}, LIMIT_BYTES, "")[1], 2]
    values[1] = next(iter(graph.steps())).step.definition.output.hold(Money(cents=5), LIMIT_BYTES, "")[1]
    data = graph.hold_result(values, LIMIT_BYTES)

    assert data == b'{"money":{"cents":5},"parts":[[5,7],[],{"plain":null}],"3":2}'
    assert graph.decode_result(data) == {"money": Money(cents=5), "parts": [(5, 7), [], {"plain": None}], "3": 2}
