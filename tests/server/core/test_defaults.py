"""What a recipe says holds where the request says nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from localrun.engine.params import OverflowPolicy, SamplingParams
from localrun.server.core.defaults import (
    keep_alive_of,
    messages_of,
    num_predict_of,
    overflow_of,
    sampling_of,
)
from localrun.services.recipes import StoredRecipe
from localrun.services.stored_model import ModelDetails, StoredModel
from localrun.supervisor.model import KeepAlive

USER = {"role": "user", "content": "hi"}
SYSTEM = {"role": "system", "content": "own"}


def recipe(*parameters: tuple[str, Any], **fields: Any) -> StoredRecipe:
    return StoredRecipe(parameters=parameters, **fields)


def model(recipe: StoredRecipe) -> StoredModel:
    details = ModelDetails(
        format="gguf", family="llama", parameter_size="1M", quantization_level="Q8_0",
        context_length=2048, capabilities=(),
    )  # fmt: skip
    return StoredModel(
        name="m:latest", shards=(Path("m.gguf"),), digest="sha256:0", size_bytes=1,
        modified=datetime.now(UTC), details=details, chat_template=None, recipe=recipe,
    )  # fmt: skip


def test_the_request_wins_also_with_a_value_that_turns_something_off() -> None:
    said = recipe(("temperature", 0.1), ("min_p", 0.3), ("top_k", 5))

    assert sampling_of(said, {"temperature": 0.0, "min_p": 0.0}) == SamplingParams(
        temperature=0.0, min_p=0.0, top_k=5
    )


def test_a_value_that_cannot_be_understood_is_left_out_alone() -> None:
    said = recipe(("temperature", "hot"), ("top_k", 7), ("min_p", 9.0))

    assert sampling_of(said, {}) == SamplingParams(top_k=7)


def test_a_default_length_is_for_a_recipe_without_one() -> None:
    assert num_predict_of(recipe(), None, 16) == 16
    assert num_predict_of(recipe(("num_predict", 9)), None, 16) == 9
    assert num_predict_of(recipe(("num_predict", -1)), None, 16) is None
    assert num_predict_of(recipe(("num_predict", 9)), 0, 16) == 0


@pytest.mark.parametrize(("asked", "meant"), [(None, 9), (4, 4), (-1, None)])
def test_num_predict(asked: int | None, meant: int | None) -> None:
    assert num_predict_of(recipe(("num_predict", 9)), asked) == meant


@pytest.mark.parametrize(
    ("parameters", "asked", "num_keep", "expected"),
    [
        ((), None, None, OverflowPolicy()),
        ((("overflow", "drop"),), None, None, OverflowPolicy(drops=True)),
        ((("overflow", "explode"),), None, None, OverflowPolicy()),
        (
            (("overflow", "shift"), ("num_keep", 4)),
            None,
            9,
            OverflowPolicy(shifts=True, num_keep=9),
        ),
        (
            (("overflow", "shift"), ("num_keep", 4)),
            OverflowPolicy(),
            None,
            OverflowPolicy(num_keep=4),
        ),
    ],
)
def test_what_happens_when_the_context_is_full(
    parameters: Any, asked: OverflowPolicy | None, num_keep: int | None, expected: OverflowPolicy
) -> None:
    assert overflow_of(recipe(*parameters), asked, num_keep) == expected


def test_keep_alive() -> None:
    said = recipe(("keep_alive", "10m"))

    assert keep_alive_of(said, None) == KeepAlive(600)
    assert keep_alive_of(said, KeepAlive(0)) == KeepAlive(0)
    found = keep_alive_of(said, None)
    assert found is not None
    assert found.source == "recipe"
    assert keep_alive_of(recipe(("keep_alive", "soon")), None) is None


@pytest.mark.parametrize(
    ("fields", "asked", "sent"),
    [
        ({}, [USER], [USER]),
        ({"system": "told"}, [USER], ["told", USER]),
        ({"system": "told"}, [SYSTEM, USER], [SYSTEM, USER]),
        (
            {"system": "told", "messages": (("user", "a"), ("assistant", "b"))},
            [USER],
            ["told", {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, USER],
        ),
        (
            {"messages": (("system", "first"), ("user", "a"))},
            [SYSTEM, USER],
            [SYSTEM, {"role": "user", "content": "a"}, USER],
        ),
    ],
)
def test_system_and_messages_come_first(
    fields: dict[str, Any], asked: list[dict[str, str]], sent: list[Any]
) -> None:
    expected = [{"role": "system", "content": m} if isinstance(m, str) else m for m in sent]

    assert messages_of(StoredRecipe(**fields), tuple(asked)) == tuple(expected)


def test_a_raw_prompt_is_left_alone() -> None:
    assert messages_of(StoredRecipe(system="told"), None) is None
