"""The shapes of embeddings and ranks: the fake runner's vectors begin with a text's length."""

from __future__ import annotations

import struct
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fakes.starting import num_open
from tests.server.serving import posted
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.server.serving import Served

RERANK = ["/v1/rerank", "/v1/reranking", "/rerank", "/reranking"]


def post(served: Served, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{served.url}{path}", json={"model": "fake", **body})


def test_openai_embeddings_have_their_shape(served: Served) -> None:
    found = post(served, "/v1/embeddings", input=["ab", "abcd"], user="me").json()

    assert found == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [2.0, 0.5, 0.5, 0.5]},
            {"object": "embedding", "index": 1, "embedding": [4.0, 0.5, 0.5, 0.5]},
        ],
        "model": "fake",
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    }


@pytest.mark.parametrize(
    ("value", "lengths"),
    [("abc", [3]), (["a"], [1]), ([7, 8, 9], [3]), ([[7], [8, 9]], [1, 2]), (["ab", [1]], [2, 1])],
)
def test_openai_inputs_are_texts_or_tokens(
    served: Served, value: list[object], lengths: list[int]
) -> None:
    data = post(served, "/v1/embeddings", input=value).json()["data"]

    assert [one["embedding"][0] for one in data] == lengths


def test_base64_holds_the_same_numbers(served: Served) -> None:
    found = post(
        served, "/v1/embeddings", input="abc", encoding_format="base64", dimensions=2
    ).json()

    assert struct.unpack("<2f", b64decode(found["data"][0]["embedding"])) == (3.0, 0.5)


def test_ollama_embeddings_have_their_shape(served: Served) -> None:
    found = post(served, "/api/embed", input=["ab", "abcdef"], options={"num_ctx": 99}).json()
    one = post(served, "/api/embeddings", prompt="ab").json()

    times = found.pop("total_duration"), found.pop("load_duration")
    assert found == {
        "model": "fake",
        "embeddings": [[2.0, 0.5, 0.5, 0.5], [3.0, 0.5, 0.5, 0.5]],  # cut to three
        "prompt_eval_count": 5,
    }
    assert times[0] >= times[1] >= 0
    assert one == {"embedding": [2.0, 0.5, 0.5, 0.5]}


@pytest.mark.parametrize("path", RERANK)
def test_ranks_come_best_first(served: Served, path: str) -> None:
    documents = ["abc", {"text": "abcdefgh"}, ""]
    found = post(served, path, query="q", documents=documents, return_documents=True).json()

    assert found.pop("id").startswith("rerank-")
    assert found == {
        "object": "list",
        "model": "fake",
        "results": [
            {"index": 1, "relevance_score": pytest.approx(0.9933071)} | text("abcdefgh"),
            {"index": 0, "relevance_score": 0.5} | text("abc"),
            {"index": 2, "relevance_score": pytest.approx(0.0474259)} | text(""),
        ],
        "usage": {"prompt_tokens": 11, "total_tokens": 11},
    }


def text(of: str) -> dict[str, Any]:
    return {"document": {"text": of}}


def test_the_best_few_and_the_models_own_scores_come_on_request(served: Served) -> None:
    asked = {"query": "q", "documents": ["abc", "abcdefgh"], "top_n": 1, "raw_scores": True}

    assert post(served, "/v1/rerank", **asked).json()["results"] == [
        {"index": 1, "relevance_score": 5.0}
    ]


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/v1/embeddings", {}, "input"),
        ("/v1/embeddings", {"input": []}, "input"),
        ("/v1/embeddings", {"input": ""}, "input"),
        ("/v1/embeddings", {"input": [[]]}, "input"),
        ("/v1/embeddings", {"input": ["a", ""]}, "input"),
        ("/v1/embeddings", {"input": [1, "a"]}, "input"),
        ("/v1/embeddings", {"input": [True]}, "input"),
        ("/v1/embeddings", {"input": [2**31]}, "input"),
        ("/v1/embeddings", {"input": [[-1]]}, "input"),
        ("/v1/embeddings", {"input": {"a": 1}}, "input"),
        ("/v1/embeddings", {"input": ["a"] * 2049}, "input"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ("/v1/embeddings", {"input": "a", "dimensions": 0}, "dimensions"),
        ("/v1/embeddings", {"input": "a", "pooling": "rank"}, "pooling"),
        ("/v1/embeddings", {"input": "a", "model": ""}, "model"),
        ("/v1/rerank", {"documents": ["a"]}, "query"),
        ("/v1/rerank", {"query": "q"}, "documents"),
        ("/v1/rerank", {"query": "q", "documents": []}, "documents"),
        ("/v1/rerank", {"query": "q", "documents": ["a"] * 2049}, "documents"),
        ("/v1/rerank", {"query": "q", "documents": ["a", {"title": "b"}]}, "documents[1]"),
        ("/rerank", {"query": "q", "documents": ["a"], "top_n": 0}, "top_n"),
    ],
)
def test_a_wrong_field_is_400_and_named(
    served: Served, path: str, body: dict[str, Any], named: str
) -> None:
    answer = post(served, path, **body)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == named


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/embed", {"input": [1]}),
        ("/api/embed", {"input": "a", "truncate": "yes"}),
        ("/api/embeddings", {"prompt": ["a"]}),
        ("/api/embeddings", {"model": None, "prompt": "a"}),
    ],
)
def test_ollama_errors_are_a_text(served: Served, path: str, body: dict[str, Any]) -> None:
    answer = post(served, path, **body)

    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings"])
def test_without_an_input_the_model_is_loaded(served: Served, path: str) -> None:
    answer = post(served, path, input="", prompt="")

    assert answer.status_code == 200
    assert answer.json().get("embeddings", answer.json().get("embedding")) == []
    assert served.pool.running()


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/embeddings", {"input": "a"}), ("/api/embed", {"input": "a"})]
)
def test_an_unknown_model_is_404(served: Served, path: str, body: dict[str, Any]) -> None:
    assert post(served, path, **body, model="nosuch").status_code == 404


def test_a_runner_that_dies_is_one_error_and_the_next_request_is_served(served: Served) -> None:
    died = post(served, "/v1/embeddings", input="die")

    assert died.status_code == 500
    assert died.json()["error"]["code"] == "runner_died"
    assert post(served, "/v1/embeddings", input="a").status_code == 200


def test_the_request_is_cancelled_when_its_client_leaves(served: Served) -> None:
    with posted(served, "/v1/embeddings", {"model": "fake", "input": "hang"}):
        wait_until(lambda: num_open(served.pool) == 1)

    wait_until(lambda: num_open(served.pool) == 0)
