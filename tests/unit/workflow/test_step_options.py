"""How a step is named, tried, bounded and given up."""

import re
from dataclasses import fields
from datetime import timedelta
from typing import Any, get_type_hints

import pytest

from daemon import DefinitionError, Retry, step
from daemon.workflow.definition import BoundStep, SkipTo, StepOptions


@step("length")
def length(sku: str) -> int:
    return len(sku)


async def bare(sku: str) -> str:
    return sku


def test_another_name_or_other_options_leave_the_step_as_it_was() -> None:
    patient = length.named("measure").options(timeout=timedelta(seconds=1), idempotent=True)

    assert (patient.name, patient.settings.timeout, patient.settings.idempotent) == (
        "measure",
        timedelta(seconds=1),
        True,
    )
    assert (length.name, length.settings.timeout, length.settings.idempotent) == ("length", None, False)
    assert patient.definition is length.definition


def test_options_keep_what_they_do_not_name() -> None:
    careful = step("careful", retry=Retry(max_attempts=3), timeout=timedelta(seconds=5))(bare)

    assert careful.options(idempotent=True).settings.retry.max_attempts == 3
    assert careful.options(retry=Retry.never()).settings.timeout == timedelta(seconds=5)
    assert careful.options(timeout=None).settings.timeout is None


def test_every_option_of_a_step_can_be_overridden() -> None:
    names = {field.name for field in fields(StepOptions)}

    assert names == get_type_hints(BoundStep.options).keys() - {"return"}


def test_a_step_is_tried_once_and_its_compensation_five_times() -> None:
    assert length.settings.retry == Retry.never()
    assert length.settings.compensation_retry == Retry(max_attempts=5, delay=timedelta(seconds=1), backoff=2)


_NO_NAME = (
    "'The End' is no name for a step: use at most 100 lower-case letters, digits and single dashes, like 'the-end'."
)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"timeout": timedelta(0)},
            "a step's timeout is above zero and at most 100 years, not 0:00:00; leave it out for none.",
        ),
        ({"timeout": 3}, "a step's timeout is a timedelta, not 3: write timedelta(seconds=...)."),
        ({"timeout": timedelta.max}, f"a step's timeout is above zero and at most 100 years, not {timedelta.max}; "),
        ({"retry": 3}, "retry is a Retry, not 3: write Retry(max_attempts=...)."),
        ({"compensation_retry": 3}, "compensation_retry is a Retry, not 3: write Retry(max_attempts=...)."),
        ({"retry": False}, "retry is a Retry, not False: write Retry(max_attempts=...)."),
        ({"idempotent": 1}, "idempotent is True or False, not 1."),
        ({"external": "yes"}, "external is True or False, not 'yes'."),
        ({"on_failure": "ignore"}, 'on_failure is "rollback", "continue" or SkipTo("step"), not \'ignore\'.'),
        ({"on_failure": SkipTo("The End")}, _NO_NAME),
    ],
    ids=str,
)
def test_an_option_out_of_its_range_is_refused(options: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError) as of_step:
        step("optional", **options)
    with pytest.raises(DefinitionError) as of_use:
        length.options(**options)

    places = re.compile(rf"tests/unit/workflow/test_step_options\.py:\d+: {re.escape(sentence)}")
    assert places.match(str(of_step.value))
    assert places.match(str(of_use.value))


def test_a_step_without_a_name_is_refused() -> None:
    nameless: Any = bare

    with pytest.raises(DefinitionError, match=r'step needs a name: write @step\("bare"\)\.'):
        step(nameless)
    with pytest.raises(DefinitionError, match=r"'Charge Card' is no name for a step: .*, like 'charge-card'"):
        length.named("Charge Card")
