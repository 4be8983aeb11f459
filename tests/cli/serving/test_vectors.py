"""Vectors of an embedding model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from localrun.cli.serving.answer import ChatOptions
from localrun.cli.serving.vectors import embed_once
from localrun.errors import ServerUnreachableError

if TYPE_CHECKING:
    from localrun.client.api import LocalrunClient

GONE = ServerUnreachableError("no server answers")


class EmbeddingClient:
    """A client whose server embeds a text, or has just left."""

    def __init__(self, *, is_gone: bool = False) -> None:
        self.is_gone = is_gone
        self.bodies: list[dict[str, Any]] = []

    def when_version_is_known(self, _tell: object) -> None:
        pass

    def embed(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.is_gone:
            raise GONE from ConnectionResetError()
        self.bodies.append(body)
        return {"embeddings": [[0.5, -1.0]], "prompt_eval_count": 3}


def embed(*clients: EmbeddingClient, dimensions: int | None = None, as_json: bool = False) -> None:
    connections = iter(clients)
    options = ChatOptions(model="bert:latest", as_json=as_json)
    embed_once(lambda: cast("LocalrunClient", next(connections)), options, "hello", dimensions)


def test_a_vector_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    client = EmbeddingClient()

    embed(client, dimensions=2)

    assert capsys.readouterr().out == "[0.5, -1.0]\n"
    assert client.bodies == [
        {"model": "bert:latest", "input": "hello", "truncate": False, "dimensions": 2}
    ]


def test_json_has_the_tokens_of_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    embed(EmbeddingClient(), as_json=True)

    assert json.loads(capsys.readouterr().out) == {
        "model": "bert:latest",
        "embedding": [0.5, -1.0],
        "prompt_tokens": 3,
    }


def test_a_server_that_leaves_is_followed_by_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    embed(EmbeddingClient(is_gone=True), EmbeddingClient())

    assert capsys.readouterr().out == "[0.5, -1.0]\n"


def test_a_second_server_that_leaves_is_an_error() -> None:
    with pytest.raises(ServerUnreachableError):
        embed(EmbeddingClient(is_gone=True), EmbeddingClient(is_gone=True))
