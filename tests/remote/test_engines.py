"""Engines that behave, and engines that do not: every answer ends once, in bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from localrun.chat.tool_calls import calls_of
from localrun.engine.params import FinishReason
from localrun.errors import ContextExceededError, UsageError
from localrun.registry.http import OfflineError
from localrun.remote import engines as engines_module
from localrun.remote import http as http_module
from localrun.remote.engines import RemoteEngines, RemoteStarted
from localrun.remote.errors import RemoteBusyError, RemoteEngineError
from localrun.remote.http import EngineHttp
from tests.fakes.engine import Asked, Wire, fake_engine, refused_url, says
from tests.remote.asking import (
    HELLO,
    answer_of,
    completion,
    end_of,
    run_with_engines,
    target,
    text_of,
    thought_of,
)
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


KEY = "secret-of-the-engine"


def test_an_answer_starts_streams_and_ends_with_usage() -> None:
    with fake_engine(says("Hel", "lo", prompt_tokens=7, completion_tokens=2)) as engine:
        events = answer_of(completion(target(engine.url)))

    assert isinstance(events[0], RemoteStarted)
    assert text_of(events) == "Hello"
    end = end_of(events)
    assert (end.prompt_tokens, end.generated_tokens, end.reason) == (7, 2, FinishReason.STOP)


def test_the_engine_is_asked_for_its_own_id_with_the_key() -> None:
    with fake_engine(says("ok")) as engine:
        answer_of(completion(target(engine.url, key=KEY)))

    (asked,) = engine.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body["model"] == "m"
    assert asked.body["messages"] == list(HELLO)
    assert asked.body["stream"] is True


def test_an_engine_that_cuts_at_the_length_says_so() -> None:
    with fake_engine(says("a", reason="length")) as engine:
        assert end_of(answer_of(completion(target(engine.url)))).reason is FinishReason.LENGTH


def test_an_engine_without_usage_is_counted_by_its_pieces() -> None:
    with fake_engine(says("a", "b", "c")) as engine:
        assert end_of(answer_of(completion(target(engine.url)))).generated_tokens == 3


@pytest.mark.parametrize("spelling", ["reasoning", "reasoning_content", "thinking"])
def test_thoughts_are_found_in_all_spellings(spelling: str) -> None:
    def script(_: Asked, wire: Wire) -> None:
        wire.head()
        wire.delta(**{spelling: "Hm."})
        wire.delta(content="12")
        wire.done()

    with fake_engine(script) as engine:
        events = answer_of(completion(target(engine.url)))

    assert (thought_of(events), text_of(events)) == ("Hm.", "12")


def test_thoughts_inside_the_content_are_found() -> None:
    with fake_engine(says("<th", "ink>\nH", "m.</thi", "nk>\n\n12")) as engine:
        events = answer_of(completion(target(engine.url)))

    assert (thought_of(events), text_of(events)) == ("Hm.", "12")


def test_an_engine_that_does_not_stream_is_understood() -> None:
    message = {"role": "assistant", "content": "12", "reasoning_content": "Hm."}

    def script(_: Asked, wire: Wire) -> None:
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        wire.json({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})

    with fake_engine(script) as engine:
        events = answer_of(completion(target(engine.url)))

    assert (thought_of(events), text_of(events)) == ("Hm.", "12")
    assert end_of(events).prompt_tokens == 3


def test_calls_of_tools_stream() -> None:
    def script(_: Asked, wire: Wire) -> None:
        wire.head()
        function = {"name": "f", "arguments": ""}
        wire.delta(tool_calls=[{"index": 0, "id": "x", "function": function}])
        wire.delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}])
        wire.delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}])
        wire.delta(tool_calls=[{"index": 1, "function": {"name": "g", "arguments": ""}}])
        wire.done("tool_calls")

    with fake_engine(script) as engine:
        calls = calls_of(answer_of(completion(target(engine.url))))

    assert [(call.name, call.arguments) for call in calls] == [("f", {"a": 1}), ("g", {})]


def test_closing_an_answer_ends_the_engines_work() -> None:
    left = threading.Event()

    def script(_: Asked, wire: Wire) -> None:
        wire.head()
        wire.delta(content="a")
        wire.wait_for_end()
        left.set()

    async def leave(engines: RemoteEngines) -> None:
        async with contextlib.aclosing(engines.stream(call)) as events:
            async for _ in events:
                break
        assert engines.open_requests == {}

    with fake_engine(script) as engine:
        call = completion(target(engine.url))
        run_with_engines(leave)
        wait_until(left.is_set)


def test_open_requests_are_counted_by_model() -> None:
    async def count(engines: RemoteEngines) -> dict[str, int]:
        async with contextlib.aclosing(engines.stream(call)) as events:
            await anext(events)
            return engines.open_requests

    with fake_engine(says("a")) as engine:
        call = completion(target(engine.url))
        assert run_with_engines(count) == {"big:latest": 1}


def breaks_off(_: Asked, wire: Wire) -> None:
    wire.head()
    wire.delta(content="a")


def reports_an_error(_: Asked, wire: Wire) -> None:
    wire.head()
    wire.delta(content="a")
    wire.event({"error": {"message": f"CUDA out of memory, {KEY}", "code": 500}})


def sends_no_json(_: Asked, wire: Wire) -> None:
    wire.head()
    wire.sock.sendall(b"data: {not json}\n\n")


def nests_deeply(_: Asked, wire: Wire) -> None:
    wire.head()
    wire.sock.sendall(b"data: " + b"[" * 200_000 + b"\n\n")


def sends_a_list(_: Asked, wire: Wire) -> None:
    wire.head()
    wire.event([1, 2])


def sends_numbers_as_text(_: Asked, wire: Wire) -> None:
    wire.head()
    wire.delta(content=5)


def sends_one_endless_line(_: Asked, wire: Wire) -> None:
    wire.head()
    wire.sock.sendall(b"data: ")
    while True:
        wire.sock.sendall(b"x" * 65536)


def sends_endless_headers(_: Asked, wire: Wire) -> None:
    wire.sock.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        wire.sock.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")


def sends_html(_: Asked, wire: Wire) -> None:
    wire.head("text/html")
    wire.sock.sendall(b"<html>")


def sends_no_http(_: Asked, wire: Wire) -> None:
    wire.sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def compresses(_: Asked, wire: Wire) -> None:
    wire.status(200, b"\x1f\x8b", Content_Encoding="gzip", Content_Type="text/event-stream")


def calls_without_a_name(_: Asked, wire: Wire) -> None:
    wire.head()
    wire.delta(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}])


def is_silent_in_the_middle(_: Asked, wire: Wire) -> None:
    wire.head()
    wire.delta(content="a")
    wire.wait_for_end()


def never_answers(_: Asked, wire: Wire) -> None:
    wire.wait_for_end()


def redirects(asked: Asked, wire: Wire) -> None:
    wire.status(307, Location="http://evil.example/v1" + asked.path)


def refuses_the_key(_: Asked, wire: Wire) -> None:
    wire.status(401, b'{"error": {"message": "Incorrect API key provided: %s"}}' % KEY.encode())


def lacks_the_model(_: Asked, wire: Wire) -> None:
    wire.status(404, b'{"detail": "Not Found"}')


def fails(_: Asked, wire: Wire) -> None:
    wire.status(500, b"<html>" + b"x" * 1_000_000)


FAULTS: tuple[tuple[Callable[[Asked, Wire], None], str], ...] = (
    (breaks_off, "ended in the middle of its answer"),
    (reports_an_error, "CUDA out of memory"),
    (sends_no_json, "not JSON"),
    (nests_deeply, "not JSON"),
    (sends_a_list, "not an object"),
    (sends_numbers_as_text, "another format"),
    (sends_one_endless_line, "more than 1048576 bytes"),
    (sends_endless_headers, "closed the connection"),
    (sends_html, "text/html"),
    (sends_no_http, "closed the connection"),
    (compresses, "compresses"),
    (calls_without_a_name, "has not begun"),
    (is_silent_in_the_middle, "was silent for 1 s"),
    (never_answers, "did not answer in 1 s"),
    (redirects, "redirects, which is not followed"),
    (refuses_the_key, "refuses the key (401)"),
    (lacks_the_model, "has no m there (404)"),
    (fails, "failed (500)"),
)


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_faulty_engine_is_one_error_that_names_it(
    fault: Callable[[Asked, Wire], None], words: str
) -> None:
    with fake_engine(fault) as engine, pytest.raises(RemoteEngineError) as caught:
        answer_of(completion(target(engine.url, key=KEY)), silence_s=1.0)

    message = caught.value.message
    assert words in message
    assert engine.url.removeprefix("http://").removesuffix("/v1") in message
    assert message.startswith("big: ")
    assert len(message) < 700
    assert KEY not in message + str(caught.value.hint)


def test_a_redirect_is_not_followed_even_to_the_same_place() -> None:
    with fake_engine(redirects) as engine, pytest.raises(RemoteEngineError):
        answer_of(completion(target(engine.url, key=KEY)))

    assert len(engine.asked) == 1


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (400, b'{"error": {"message": "top_k is wrong", "param": "top_k"}}', UsageError),
        (400, b'{"message": "maximum context length is 4096 tokens"}', ContextExceededError),
        (400, b'{"error": {"type": "exceed_context_size_error"}}', ContextExceededError),
        (422, b"{}", UsageError),
        (429, b"{}", RemoteBusyError),
        (503, b"{}", RemoteBusyError),
    ],
)
def test_a_status_is_the_error_that_says_what_to_do(
    status: int, said: bytes, kind: type[Exception]
) -> None:
    def script(_: Asked, wire: Wire) -> None:
        wire.status(status, said, Retry_After="7")

    with fake_engine(script) as engine, pytest.raises(kind) as caught:
        answer_of(completion(target(engine.url)))

    assert getattr(caught.value, "param", "top_k") in {None, "top_k"}
    assert getattr(caught.value, "retry_after_s", 7) == 7


def test_nobody_at_the_address_is_an_error_with_the_next_command() -> None:
    with pytest.raises(RemoteEngineError) as caught:
        answer_of(completion(target(refused_url())))

    assert "does not answer: Connection refused" in caught.value.message
    assert caught.value.hint == "localrun remote test big   asks the engine"


def test_offline_allows_only_this_machine() -> None:
    with fake_engine(says("a")) as engine:
        assert text_of(answer_of(completion(target(engine.url)), is_offline=True)) == "a"
    with pytest.raises(OfflineError, match="big"):
        answer_of(completion(target("http://gpu1.example:8000")), is_offline=True)


def test_a_proxy_sees_neither_prompt_nor_key_of_plain_http() -> None:
    with fake_engine(says("proxy")) as proxy, fake_engine(says("engine")) as engine:
        environ = {"http_proxy": proxy.url, "HTTP_PROXY": proxy.url}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            events = answer_of(completion(target(engine.url, key=KEY)), environ=environ)

    assert text_of(events) == "engine"
    assert proxy.asked == []


def test_another_address_answers_while_nothing_has_arrived() -> None:
    def busy(_: Asked, wire: Wire) -> None:
        wire.status(503)

    def dies(_: Asked, wire: Wire) -> None:
        wire.sock.close()

    def empty(_: Asked, wire: Wire) -> None:
        wire.head()

    with (
        fake_engine(busy) as one,
        fake_engine(dies) as two,
        fake_engine(empty) as three,
        fake_engine(says("ok")) as four,
    ):
        urls = (refused_url(), one.url, two.url, three.url, four.url)
        events = answer_of(completion(target(*urls)))

    assert text_of(events) == "ok"
    assert [len(each.asked) for each in (one, two, three, four)] == [1, 1, 1, 1]


def test_no_other_address_is_asked_after_the_first_byte() -> None:
    with fake_engine(breaks_off) as one, fake_engine(says("ok")) as two:
        with pytest.raises(RemoteEngineError, match="in the middle"):
            answer_of(completion(target(one.url, two.url)))

    assert two.asked == []


def test_a_refused_request_is_not_sent_to_another_address() -> None:
    def refuses(_: Asked, wire: Wire) -> None:
        wire.status(400)

    with fake_engine(refuses) as one, fake_engine(says("ok")) as two:
        with pytest.raises(UsageError):
            answer_of(completion(target(one.url, two.url)))

    assert two.asked == []


def test_a_silent_address_that_fails_its_probe_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines_module, "SILENT_S", 0.05)
    monkeypatch.setattr(engines_module, "PROBE_S", 0.2)

    with fake_engine(never_answers) as frozen, fake_engine(says("ok")) as other:
        events = answer_of(completion(target(frozen.url, other.url)))

    assert text_of(events) == "ok"
    assert "/v1/models" in frozen.paths()


def test_a_silent_address_that_passes_its_probe_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines_module, "SILENT_S", 0.02)
    probed = threading.Event()

    def slow(asked: Asked, wire: Wire) -> None:
        if asked.path.endswith("/models"):
            wire.json({"data": []})
            probed.set()
        else:
            probed.wait(60)
            wire.head()
            wire.delta(content="slow")
            wire.done()

    with fake_engine(slow) as engine, fake_engine(says("other")) as other:
        events = answer_of(completion(target(engine.url, other.url)))

    assert text_of(events) == "slow"


def test_requests_are_divided_by_load_and_conversations_stay() -> None:
    def conversation(turns: int, first: str) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = [{"role": "system", "content": "S"}]
        for turn in range(turns):
            messages.append({"role": "user", "content": first if turn == 0 else f"turn {turn}"})
            messages.append({"role": "assistant", "content": "ok"})
        return messages[:-1]

    async def ask(engines: RemoteEngines) -> None:
        for turns in (1, 2, 3):
            for first in ("a", "b", "c", "d"):
                call = completion(asked, conversation(turns, first))
                async with contextlib.aclosing(engines.stream(call)) as events:
                    async for _ in events:
                        pass

    with fake_engine(says("ok")) as one, fake_engine(says("ok")) as two:
        asked = target(one.url, two.url)
        run_with_engines(ask)

    places = [
        {each.body["messages"][1]["content"] for each in engine.asked} for engine in (one, two)
    ]
    assert places[0].isdisjoint(places[1])
    assert [len(place) for place in places] == [2, 2]
    assert [len(engine.asked) for engine in (one, two)] == [6, 6]


def test_a_connection_is_used_again_after_an_answer() -> None:
    """Two answers over one connection: the engine keeps it open after the last event."""
    num_connections = 0
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal num_connections
        num_connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                event = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: [DONE]\n\n'
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n"
                    b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event)
                )
                await writer.drain()
        writer.close()
        await writer.wait_closed()
        ended.set()

    async def run() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        engines = RemoteEngines(EngineHttp({}))
        call = completion(target(f"http://127.0.0.1:{port}/v1"))
        texts = [text_of([event async for event in engines.stream(call)]) for _ in range(3)]
        await engines.close()
        await ended.wait()
        server.close()
        return "".join(texts)

    assert asyncio.run(run()) == "aaa"
    assert num_connections == 1


def test_a_connection_that_the_engine_has_closed_meanwhile_is_no_error() -> None:
    """An engine that closes idle connections: the request is sent once more."""
    closed_once = False

    def script(_: Asked, wire: Wire) -> None:
        nonlocal closed_once
        if not closed_once:
            closed_once = True
            return
        wire.head()
        wire.delta(content="ok")
        wire.done()

    with fake_engine(script) as engine:
        assert text_of(answer_of(completion(target(engine.url)))) == "ok"

    assert len(engine.asked) == 2


def test_many_answers_stream_at_once() -> None:
    async def ask_all(engines: RemoteEngines) -> list[str]:
        async def one(number: int) -> str:
            call = completion(asked, [{"role": "user", "content": f"{number}"}])
            return text_of([event async for event in engines.stream(call)])

        return await asyncio.gather(*map(one, range(100)))

    def echo(question: Asked, wire: Wire) -> None:
        wire.head()
        wire.delta(content=question.body["messages"][0]["content"])
        wire.done()

    with fake_engine(echo) as engine:
        asked = target(engine.url)
        texts = run_with_engines(ask_all)

    assert texts == [str(number) for number in range(100)]


def test_closing_the_engines_ends_open_answers_with_an_error() -> None:
    async def close_in_the_middle(engines: RemoteEngines) -> None:
        events = engines.stream(call)
        await anext(events)
        await anext(events)
        await engines.close()
        async for _ in events:
            pass

    with fake_engine(is_silent_in_the_middle) as engine:
        call = completion(target(engine.url))
        with pytest.raises(RemoteEngineError):
            run_with_engines(close_in_the_middle)


def test_an_answer_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module.EngineResponse.pieces, "__defaults__", (10_000,))

    def endless(_: Asked, wire: Wire) -> None:
        wire.head()
        while True:
            wire.delta(content="word ")

    with fake_engine(endless) as engine, pytest.raises(RemoteEngineError, match="10000 bytes"):
        answer_of(completion(target(engine.url)))
