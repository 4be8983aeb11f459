"""The HTTP client, against a scripted server."""

from __future__ import annotations

from pathlib import Path

import pytest

from localrun.client.api import LocalrunClient
from localrun.errors import (
    BackendError,
    LocalrunError,
    ModelNotFoundError,
    RunnerDiedError,
    ServerUnreachableError,
)
from localrun.settings import Settings, parse_address
from tests.cli.fake_server import END, fake_server, say, unused_address
from tests.waiting import HANG_S


def client_of(address: str) -> LocalrunClient:
    host, port = parse_address(address)
    return LocalrunClient(Settings(host=host, port=port, log_dir=Path("unused")))


def test_an_answer_comes_piece_by_piece() -> None:
    with fake_server() as server:
        pieces = list(client_of(server.address).chat({"model": "guide", "messages": []}))

    assert [piece["message"]["content"] for piece in pieces] == ["Hel", "lo.", ""]
    assert pieces[-1] == END
    assert server.script.heard == [{"model": "guide", "messages": []}]


def test_closing_the_iterator_closes_the_connection() -> None:
    with fake_server() as server:
        server.script.answer, server.script.holds = [say("Half")], True
        pieces = client_of(server.address).chat({})

        next(pieces)
        pieces.close()

        assert server.script.client_left.wait(HANG_S)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("runner_died", RunnerDiedError),
        ("model_not_found", ModelNotFoundError),
        ("new", BackendError),
    ],
)
def test_an_error_in_the_stream_has_the_class_that_its_code_names(
    code: str, kind: type[LocalrunError]
) -> None:
    with fake_server() as server:
        server.script.answer = [say("Hel"), {"error": "broken", "code": code, "hint": "mend it"}]
        pieces = client_of(server.address).chat({})

        assert next(pieces)["message"]["content"] == "Hel"
        with pytest.raises(kind) as caught:
            next(pieces)

    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.hint) == ("broken", "mend it")


def test_a_stream_that_is_cut_is_never_taken_for_a_whole_answer() -> None:
    with fake_server() as server:
        server.script.answer = [say("Hel")]

        with pytest.raises(BackendError, match="in the middle of the answer"):
            list(client_of(server.address).chat({}))


def test_without_a_server_every_call_says_so() -> None:
    client = client_of(unused_address())

    assert client.version() is None
    with pytest.raises(ServerUnreachableError):
        client.running()
    with pytest.raises(ServerUnreachableError):
        next(client.chat({}))


def test_the_server_is_told_to_leave_and_to_unload() -> None:
    with fake_server() as server:
        client_of(server.address).unload("guide:latest")
        client_of(server.address).shut_down()

    assert server.script.heard == [{"model": "guide:latest", "keep_alive": 0}]
    assert server.script.told_to_leave.is_set()
