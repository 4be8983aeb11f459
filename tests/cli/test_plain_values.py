from __future__ import annotations

import copy
from typing import Annotated, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer import Option
from typer.main import get_command_from_info
from typer.models import CommandInfo

from localrun.cli.plain_values import read_plainly


def demo(
    *,
    text: Annotated[str, Option()] = "",
    number: Annotated[int, Option()] = 0,
    limited: Annotated[int, Option(min=-3, max=40)] = 0,
    share: Annotated[float | None, Option()] = None,
    words: Annotated[list[str] | None, Option()] = None,
    upper: Annotated[str, Option(parser=str.upper)] = "",
) -> None:
    """Take a parameter of each kind."""


COMMAND = get_command_from_info(
    CommandInfo("demo", callback=demo), pretty_exceptions_short=False, rich_markup_mode="rich"
)
PARAMETERS = {parameter.name: parameter for parameter in COMMAND.params}


def outcome(parameter: Any, value: object) -> object:
    try:
        return repr(parameter.process_value(None, value))  # NaN equals nothing
    except Exception as error:  # noqa: BLE001 - typer's own classes are private
        return type(error), str(error)


@pytest.mark.parametrize("name", ["text", "number", "limited", "share", "upper"])
@given(value=st.text() | st.integers().map(str) | st.floats().map(str) | st.none())
@example("007")
@example("-0")
@example("1_0")
@example(" 7\n")
@example("٣")
@example("41")
@example("-0.0")
@example("1.50")
@example("-3")
@example("9" * 5000)
def test_a_value_is_what_typer_reads(name: str, value: str | None) -> None:
    plain = read_plainly(copy.copy(PARAMETERS[name]))

    assert outcome(plain, value) == outcome(PARAMETERS[name], value)


@given(words=st.lists(st.text()).map(tuple) | st.none() | st.text())
def test_several_values_are_what_typer_reads(words: tuple[str, ...] | str | None) -> None:
    plain = read_plainly(copy.copy(PARAMETERS["words"]))

    assert outcome(plain, words) == outcome(PARAMETERS["words"], words)
