from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from localrun.chat.stream_parser import Part, ReasoningPart, TextPart
from localrun.chat.tool_calls import CallArguments, CallBegun
from localrun.engine.params import FinishReason
from localrun.server.anthropic.builder import MessageBuilder
from localrun.server.anthropic.request import MessagesCall
from localrun.server.core.request import AnswerFinished, AnswerStarted, CompletionRequest
from tests.fakes.requests import finished

OPENED = AnswerStarted(prompt_tokens=9)
CALL: list[Part] = [
    CallBegun("f"),
    CallArguments('{"a": [1,', is_last=False),
    CallArguments(" 2]}", is_last=True),
]


def done(
    reason: FinishReason = FinishReason.STOP, stop: str | None = None, num: int = 3
) -> AnswerFinished:
    end = finished(prompt_tokens=9, cached_tokens=4, generated_tokens=num, reason=reason)
    return AnswerFinished(
        finished=replace(end, stop=stop),
        started=AnswerStarted(dropped_messages=2),
        load_s=0,
        total_s=0,
    )


def answer() -> MessageBuilder:
    request = CompletionRequest(model="m", num_predict=10, stop=("END",))
    return MessageBuilder(MessagesCall(request=request, stream=True, shows_thoughts=True))


def added_up(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put blocks together as a client does, and check that they come one after the other."""
    blocks: list[dict[str, Any]] = []
    pieces: list[str] = []
    is_open = False
    for event in events:
        if event["type"] == "content_block_start":
            assert not is_open
            blocks.append(dict(event["content_block"]))
            pieces, is_open = [], True
        elif event["type"] == "content_block_delta":
            assert is_open
            assert event["index"] == len(blocks) - 1
            _add(blocks[-1], event["delta"], pieces)
        elif event["type"] == "content_block_stop":
            assert is_open
            assert event["index"] == len(blocks) - 1
            is_open = False
    assert not is_open
    return blocks


def _add(block: dict[str, Any], delta: dict[str, Any], pieces: list[str]) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] += delta["signature"]
        case "input_json_delta":
            pieces.append(delta["partial_json"])
            text = "".join(pieces)
            block["input"] = json.loads(text) if text.endswith("]}") else {}


parts = st.one_of(
    st.builds(lambda text: [TextPart(text)], st.sampled_from(["a", " ", "\n\n", "b "])),
    st.builds(lambda text: [ReasoningPart(text)], st.sampled_from(["x", " y"])),
    st.just(CALL),
)


@given(st.lists(parts, max_size=8))
def test_a_whole_answer_is_what_its_events_add_up_to(groups: list[list[Part]]) -> None:
    found = answer()
    flat = [part for group in groups for part in group]

    events = [event for part in (OPENED, *flat, done()) for event in found.events_of(part)]
    whole = found.message()

    assert whole["content"] == added_up(events)
    assert [event["type"] for event in events[:2]] == ["message_start", "ping"]
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    end = events[-2]
    assert end["delta"].items() <= whole.items()
    assert end["usage"] == whole["usage"]
    assert all(block["text"].strip() for block in whole["content"] if "text" in block)


def ended(end: AnswerFinished, *parts: Part) -> tuple[str, str | None]:
    found = answer()
    for part in (OPENED, *parts, end):
        found.events_of(part)
    whole = found.message()
    return whole["stop_reason"], whole["stop_sequence"]


def test_why_an_answer_ended() -> None:
    text = TextPart("a")

    assert ended(done(), text) == ("end_turn", None)
    assert ended(done(stop="END"), text) == ("stop_sequence", "END")
    assert ended(done(stop="the recipe's"), text) == ("end_turn", None)
    assert ended(done(), text, *CALL) == ("tool_use", None)
    assert ended(done(stop="END"), *CALL, text) == ("tool_use", None)
    assert ended(done(), text, *CALL[:2]) == ("end_turn", None)
    assert ended(done(FinishReason.LENGTH, num=10), *CALL) == ("max_tokens", None)
    assert ended(done(FinishReason.LENGTH), text) == ("model_context_window_exceeded", None)


def test_blanks_are_told_only_where_text_follows() -> None:
    found = answer()

    for part in (TextPart("\n"), *CALL, TextPart(" "), TextPart("a"), *CALL, TextPart(" "), done()):
        found.events_of(part)

    kinds = [block.get("text", block["type"]) for block in found.message()["content"]]
    assert kinds == ["tool_use", " a", "tool_use"]


def test_what_was_dropped_is_told_at_the_end() -> None:
    found = answer()
    found.events_of(OPENED)

    events = found.events_of(done())

    assert events[0]["localrun"] == found.message()["localrun"]
    assert found.message()["localrun"]["dropped_messages"] == 2
