from __future__ import annotations

import contextlib
import socket
import struct
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.params import (
    ConstraintKind,
    ConstraintSpec,
    FinishReason,
    OverflowPolicy,
    Pooling,
    SamplingParams,
)
from localrun.errors import BackendError
from localrun.runner.channel import Channel
from localrun.runner.frames import (
    LARGEST_FRAME,
    LENGTH,
    FrameTooLargeError,
    Message,
    decode,
    encode,
    read_messages,
)
from localrun.runner.messages import (
    Cancel,
    Embed,
    Embeddings,
    Failed,
    Finished,
    Generate,
    Generation,
    JsonObject,
    Load,
    PromptSpec,
    Ranks,
    Ready,
    Rerank,
    Step,
    Tokenize,
)

TOOLS: tuple[JsonObject, ...] = (
    {"function": {"parameters": {"required": ["a"], "type": ["string", "null"]}}},
)
OPTIONS: JsonObject = {"enable_thinking": True, "names": ["a", ["b"]]}
EXAMPLES: list[Message] = [
    Load(model_paths=("/m.gguf",), num_ctx=2048),
    Generate(
        request_id=3,
        generation=Generation(
            prompt=PromptSpec(
                messages=({"role": "user", "content": "é"},), tools=TOOLS, template_options=OPTIONS
            ),
            constraint=ConstraintSpec(kind=ConstraintKind.CHOICE, choices=("a", "é"), after="</t>"),
            logprobs=3,
        ),
        sampling=SamplingParams(temperature=0, seed=2**40),
        stop=("a", "b"),
        overflow=OverflowPolicy(drops=True, num_keep=4),
    ),
    Generate(
        request_id=4, generation=Generation(prompt=PromptSpec(text="x"), prompt_tokens=(1, 2))
    ),
    Tokenize(request_id=5, prompt=PromptSpec(messages=(), tools=TOOLS), parses_special=False),
    Cancel(request_id=3),
    Ready(num_ctx=1, num_parallel=2, device="CPU", size_bytes=3, size_gpu_bytes=0, load_s=0.5),
    Step(deltas=((1, "x"), (2, "😀"))),
    Step(deltas=((1, "x"), (2, "")), scores=((2, ((b"\xff", -0.5, ((b"a", -1.0),)),)),)),
    Finished(
        request_id=1,
        reason=FinishReason.STOP,
        prompt_tokens=1,
        cached_tokens=0,
        generated_tokens=2,
        queue_s=0.0,
        prompt_s=0.1,
        generation_s=0.2,
    ),
    Failed(request_id=1, code="backend_error", message="m", param="format"),
    Embed(request_id=1, inputs=("é", (1, 2)), pooling=Pooling.CLS, dimensions=3),
    Rerank(request_id=1, query="q", documents=("a", "b")),
    Embeddings(request_id=1, vectors=b"\x00\xff" * 4, dimensions=2, token_counts=(3,)),
    Ranks(request_id=1, scores=(0.5, -1.0), are_probabilities=False, token_counts=(3, 4)),
]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_messages_come_back_as_they_were(message: Message) -> None:
    assert decode(encode(message)[4:]) == message


def test_integers_of_json_cross_whatever_their_size() -> None:
    numbers = [2**63, 2**64, -(2**63) - 1, 10**40, 0, -1]
    message = {"role": "assistant", "tool_calls": [{"function": {"arguments": {"wei": numbers}}}]}

    request = Tokenize(request_id=1, prompt=PromptSpec(messages=(message,)))

    assert decode(encode(request)[LENGTH.size :]) == request


def test_a_wide_integer_in_a_field_that_is_not_json_is_refused_by_the_sender() -> None:
    with pytest.raises(ValueError, match="num_predict"):
        encode(Generate(request_id=1, num_predict=2**70))


def test_json_that_is_nested_too_deeply_is_refused_by_the_sender() -> None:
    options: JsonObject = {}
    inner = options
    for _ in range(10_000):
        inner["a"] = {}
        inner = inner["a"]

    with pytest.raises(ValueError, match="nested"):
        encode(Tokenize(request_id=1, prompt=PromptSpec(template_options=options)))


def test_messages_are_read_from_a_stream_however_it_is_cut() -> None:
    ours, theirs = socket.socketpair()
    data = b"".join(encode(message) for message in EXAMPLES)

    def send() -> None:  # a socket holds few pieces, however small they are
        with ours:
            for start in range(0, len(data), 7):
                ours.sendall(data[start : start + 7])

    sender = threading.Thread(target=send)
    sender.start()
    with theirs:
        assert list(read_messages(theirs)) == EXAMPLES
    sender.join()


def test_a_frame_that_claims_gigabytes_is_refused_unread() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(struct.pack("<I", 2**32 - 1))

        with pytest.raises(BackendError, match="too large"):
            list(read_messages(theirs))


def test_a_name_without_fields_is_refused() -> None:
    with pytest.raises(BackendError, match="Expected `object`"):
        decode(msgspec.msgpack.encode(["Cancel", 5]))


@given(st.binary(max_size=60))
def test_no_bytes_crash_the_decoder(payload: bytes) -> None:
    with contextlib.suppress(BackendError):
        decode(payload)


def test_text_that_has_no_utf_8_is_replaced_where_the_sender_says_so() -> None:
    failed = Failed(request_id=1, code="invalid_request", message="a\ud800b")

    with pytest.raises(ValueError, match="surrogates"):
        encode(failed)

    read = decode(encode(failed, unicode_errors="replace")[4:])
    assert isinstance(read, Failed)
    assert read.message == "a?b"


def test_a_message_that_is_too_large_is_refused_and_nothing_of_it_sent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(ours)

        with pytest.raises(FrameTooLargeError, match="bytes"):
            channel.send(Failed(request_id=1, code="c", message="x" * (LARGEST_FRAME + 1)))
        channel.send(Failed(request_id=2, code="c", message="\ud800"))
        ours.shutdown(socket.SHUT_WR)

        assert list(read_messages(theirs)) == [Failed(request_id=2, code="c", message="?")]
