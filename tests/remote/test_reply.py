from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.chat.stream_parser import ReasoningPart, TextPart
from localrun.chat.tool_calls import CallArguments, CallBegun, calls_of
from localrun.engine.params import FinishReason
from localrun.remote.reply import EngineReply, MalformedReplyError, RemoteScores
from localrun.remote.thoughts import ThoughtReader


def parts_of(*deltas: dict[str, Any], is_chat: bool = True, **options: Any) -> list[object]:
    reply = EngineReply(is_chat=is_chat, **options)
    parts: list[object] = []
    for delta in deltas:
        parts += reply.push({"choices": [{"index": 0, "delta": delta}]})
    return parts + reply.finish()


def function(**fields: Any) -> dict[str, Any]:
    return {"tool_calls": [fields]}


def test_whole_calls_without_an_index_are_several_calls() -> None:
    one = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    two = {"id": "b", "function": {"name": "f", "arguments": {"x": 1}}}

    calls = calls_of(parts_of({"tool_calls": [one, two]}))

    assert [(call.name, call.arguments) for call in calls] == [("f", {}), ("f", {"x": 1})]


def test_a_call_ends_before_text_that_follows() -> None:
    parts = parts_of(
        function(index=0, function={"name": "f", "arguments": "{}"}), {"content": "done"}
    )

    assert parts == [
        CallBegun("f"),
        CallArguments("{}", is_last=False),
        CallArguments("", is_last=True),
        TextPart("done"),
    ]


def test_the_older_form_of_a_call_is_understood() -> None:
    call = {"function_call": {"name": "f", "arguments": '{"a": 1}'}}

    assert calls_of(parts_of(call))[0].arguments == {"a": 1}


def test_calls_beyond_the_one_that_may_be_are_dropped() -> None:
    deltas = [function(index=n, function={"name": f"f{n}", "arguments": "{}"}) for n in range(3)]

    assert [call.name for call in calls_of(parts_of(*deltas, most_calls=1))] == ["f0"]


def test_thousands_of_calls_are_refused() -> None:
    deltas = [function(index=n, function={"name": "f"}) for n in range(1001)]

    with pytest.raises(MalformedReplyError, match="tool calls"):
        parts_of(*deltas)


def test_kept_thoughts_are_text_with_tags() -> None:
    parts = parts_of({"reasoning": "Hm."}, {"content": "12"}, keeps_thoughts=True)
    text = "".join(part.text for part in parts if isinstance(part, TextPart))

    assert text == "<think>\nHm.\n</think>\n\n12"
    kept = parts_of({"content": "<think>Hm.</think>12"}, keeps_thoughts=True)
    assert "".join(part.text for part in kept if isinstance(part, TextPart)) == (
        "<think>Hm.</think>12"
    )


def test_content_may_be_parts() -> None:
    assert parts_of({"content": [{"type": "text", "text": "a"}, {"text": "b"}]}) == [TextPart("ab")]


def test_scores_come_with_their_bytes() -> None:
    reply = EngineReply(is_chat=True)
    content = [
        {
            "token": "a",
            "bytes": [97],
            "logprob": -0.5,
            "top_logprobs": [{"token": "b", "logprob": -1, "bytes": None}],
        }
    ]

    parts = reply.push({"choices": [{"delta": {}, "logprobs": {"content": content}}]})

    assert parts == [RemoteScores(((b"a", -0.5, ((b"b", -1.0),)),))]


def test_scores_of_texts_have_the_older_form() -> None:
    reply = EngineReply(is_chat=False)
    scores = {"tokens": ["a"], "token_logprobs": [None], "top_logprobs": [{"b": -1}]}

    parts = reply.push({"choices": [{"text": "a", "logprobs": scores}]})

    assert parts == [RemoteScores(((b"a", None, ((b"b", -1.0),)),)), TextPart("a")]


def test_usage_is_read_with_care() -> None:
    reply = EngineReply(is_chat=True)
    reply.push(
        {
            "usage": {
                "prompt_tokens": 9,
                "completion_tokens": "many",
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": -3},
            },
            "choices": [],
        }
    )

    usage = reply.usage
    assert (usage.prompt_tokens, usage.cached_tokens) == (9, 4)
    assert (usage.generated_tokens, usage.thought_tokens) == (0, 0)


def test_the_stop_string_of_vllm_is_known() -> None:
    reply = EngineReply(is_chat=True)
    reply.push({"choices": [{"delta": {}, "finish_reason": "stop", "stop_reason": "END"}]})

    assert (reply.reason, reply.stop) == (FinishReason.STOP, "END")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["delta", "content", "tool_calls", "function", "name", "usage", "logprobs"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.booleans())
def test_any_json_is_parts_or_one_error(value: Any, is_chat: bool) -> None:  # noqa: FBT001
    reply = EngineReply(is_chat=is_chat)
    try:
        reply.push({"choices": [value], "usage": value})
        reply.push({"choices": [{"delta": value, "logprobs": value}]})
        reply.finish()
    except MalformedReplyError:
        pass


@given(st.text(alphabet="<>/think ab\n", max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_thoughts_do_not_depend_on_how_the_text_is_cut(text: str, cuts: list[int]) -> None:
    def read(pieces: list[str]) -> tuple[str, str]:
        reader = ThoughtReader()
        parts = [part for piece in pieces for part in reader.push(piece)] + reader.finish()
        thought = "".join(part.text for part in parts if isinstance(part, ReasoningPart))
        return thought, "".join(part.text for part in parts if isinstance(part, TextPart))

    text = f"<think>{text}"
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]

    assert read(pieces) == read([text])


@pytest.mark.parametrize(
    "text", ["Use <think> to think.", "a <think>b</think>", "<thin air>", " <"]
)
def test_a_tag_that_does_not_begin_the_answer_is_text(text: str) -> None:
    reader = ThoughtReader()

    parts = reader.push(text) + reader.finish()

    assert "".join(part.text for part in parts if isinstance(part, TextPart)) == text


def test_blanks_alone_are_not_held_back_for_ever() -> None:
    reader = ThoughtReader()

    assert [part for _ in range(300) for part in reader.push(" ")]
