"""What the events of an answer say, for any answer."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.chat.stream_parser import ReasoningPart, TextPart
from localrun.chat.tool_calls import CallArguments, CallBegun
from localrun.engine.params import FinishReason
from localrun.errors import RunnerDiedError
from localrun.server.core.request import AnswerFinished, AnswerStarted, TokenScores
from localrun.server.openai.responses.builder import ResponseBuilder
from localrun.server.openai.responses.request import parse_call
from localrun.server.openai.responses.store import ResponseStore
from localrun.server.parsing.fields import Fields
from tests.fakes.requests import finished

if TYPE_CHECKING:
    from localrun.server.core.request import Reply

TOOLS = [
    {"type": "function", "name": "look"},
    {"type": "custom", "name": "patch"},
    {"type": "local_shell"},
]
CALLED = {
    "look": '{"a": 1}',
    "patch": '{"input": "*** Begin"}',
    "local_shell": '{"command": ["ls"], "timeout_ms": 5}',
}


def answer(**fields: Any) -> ResponseBuilder:
    asked = {"model": "m", "input": "hi", "tools": TOOLS, "stream": True, **fields}
    return ResponseBuilder(parse_call(Fields(asked), ResponseStore()))


def done(reason: FinishReason = FinishReason.STOP) -> AnswerFinished:
    end = finished(prompt_tokens=5, cached_tokens=3, generated_tokens=4, reason=reason)
    return AnswerFinished(
        finished=replace(end, thought_tokens=2), started=AnswerStarted(), load_s=0, total_s=0
    )


def called(name: str, cut: int | None = None) -> list[Reply]:
    """Return a call in two pieces, or broken off."""
    arguments = CALLED[name]
    pieces = [CallArguments(arguments[:4], is_last=False)]
    rest = CallArguments(arguments[4:], is_last=True)
    return [CallBegun(name), *(pieces if cut else [*pieces, rest])]


def told(one: ResponseBuilder, *parts: Reply) -> list[dict[str, Any]]:
    return [event for part in (AnswerStarted(), *parts) for event in one.events_of(part)]


def items(events: list[dict[str, Any]]) -> list[Any]:
    return [event["item"] for event in events if event["type"].endswith("output_item.done")]


replies = st.lists(
    st.one_of(
        st.builds(lambda text: [TextPart(text)], st.sampled_from(["a", " ", "\n", "so"])),
        st.builds(lambda text: [ReasoningPart(text)], st.sampled_from(["hm", " "])),
        st.builds(called, st.sampled_from(sorted(CALLED))),
    ),
    max_size=8,
).map(lambda groups: [part for group in groups for part in group])


@given(
    parts=replies,
    end=st.sampled_from(["stop", "length", "die", "cancel"]),
    summarizes=st.booleans(),
)
def test_events_add_up_to_the_whole(*, parts: list[Reply], end: str, summarizes: bool) -> None:
    one = answer(reasoning={"summary": "auto"} if summarizes else None)
    events = told(one, *parts)
    if end == "die":
        events += one.fail(RunnerDiedError("gone"))
    elif end == "cancel":
        events += one.cancel()
    else:
        events += one.events_of(done(FinishReason(end)))

    whole = one.response()
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert items(events) == whole["output"] == events[-1]["response"]["output"]
    assert sum(event["type"].endswith("output_item.added") for event in events) == len(
        items(events)
    )
    for place, item in enumerate(whole["output"]):
        own = [event for event in events if event.get("output_index") == place]
        deltas = "".join(event["delta"] for event in own if "delta" in event)
        assert deltas == said(item)
        assert own[0]["item"]["id"] == item["id"]
    texts = "".join(part.text for part in parts if isinstance(part, TextPart))
    assert "".join(map(said, whole["output"])).replace(" ", "").count("so") == texts.count("so")


def said(item: dict[str, Any]) -> str:
    """Return what the deltas of an item tell."""
    parts = item.get("content") or item.get("summary") or [{"text": ""}]
    return str(item.get("arguments", item.get("input", parts[0]["text"])))


def test_a_custom_tool_gets_its_text_and_the_shell_its_command() -> None:
    patch, shell = items(told(answer(), *called("patch"), *called("local_shell")))

    assert (patch["type"], patch["name"], patch["input"]) == (
        "custom_tool_call",
        "patch",
        "*** Begin",
    )
    assert shell["type"] == "local_shell_call"
    assert shell["action"] == {
        "type": "exec",
        "command": ["ls"],
        "env": {},
        "timeout_ms": 5,
        "working_directory": None,
        "user": None,
    }


def test_a_command_that_is_a_line_is_given_to_a_shell() -> None:
    arguments = CallArguments('{"command": "ls | wc"}', is_last=True)

    (shell,) = items(told(answer(), CallBegun("local_shell"), arguments))

    assert shell["action"]["command"] == ["bash", "-lc", "ls | wc"]


@pytest.mark.parametrize("name", sorted(CALLED))
def test_a_call_that_was_broken_off_is_incomplete(name: str) -> None:
    one = answer()
    told(one, *called(name, cut=1), done())

    (item,) = one.response()["output"]
    assert item["status"] == "incomplete"


def test_an_answer_that_was_cut_is_incomplete() -> None:
    one = answer()
    events = told(one, TextPart("so"), done(FinishReason.LENGTH))

    assert events[-1]["type"] == "response.incomplete"
    assert one.response()["incomplete_details"] == {"reason": "max_output_tokens"}
    assert one.response()["output"][0]["status"] == "incomplete"
    assert one.response()["completed_at"] is None


def test_scores_of_a_text_are_with_it_and_those_of_thoughts_are_not() -> None:
    numbers = count()

    def scored() -> TokenScores:
        return TokenScores(((f"{next(numbers)}".encode(), -1.0, ()),))

    one = answer()
    events = told(
        one, scored(), ReasoningPart("hm"), scored(), TextPart("a"), scored(), TextPart("b"), done()
    )

    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert [[score["token"] for score in delta["logprobs"]] for delta in deltas] == [["1"], ["2"]]
    (part,) = one.response()["output"][1]["content"]
    assert [score["token"] for score in part["logprobs"]] == ["1", "2"]


def test_blanks_between_items_are_nothing_but_those_before_a_text_are_its_own() -> None:
    one = answer()
    told(
        one,
        TextPart("\n"),
        *called("look"),
        TextPart("\n"),
        *called("look"),
        TextPart(" "),
        TextPart("so"),
    )

    first, second, message = one.response()["output"]
    assert (first["type"], second["type"]) == ("function_call", "function_call")
    assert message["content"][0]["text"] == " so"


def test_a_blank_before_a_thought_is_not_the_texts() -> None:
    one = answer()
    told(one, TextPart("\n"), ReasoningPart("hm"), TextPart("so"))

    assert one.response()["output"][1]["content"][0]["text"] == "so"
