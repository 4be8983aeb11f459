from __future__ import annotations

import array
import base64
import math
from typing import TYPE_CHECKING, Any

import pytest

from localrun.errors import UsageError
from localrun.remote.errors import RemoteEngineError
from localrun.remote.model import EngineKind
from localrun.remote.vectors import embed, rank
from tests.fakes.engine import Asked, Wire, fake_engine, refused_url
from tests.remote.asking import run_with_engines, target

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.remote.engines import RemoteEngines
    from localrun.remote.model import RemoteTarget
    from localrun.remote.vectors import RemoteRanks, RemoteVectors


def answers(value: Any) -> Callable[[Asked, Wire], None]:
    return lambda _, wire: wire.json(value)


def embedded(asked: RemoteTarget, *texts: str, **options: Any) -> RemoteVectors:
    async def act(engines: RemoteEngines) -> RemoteVectors:
        options.setdefault("dimensions", None)
        options.setdefault("truncate", False)
        return await embed(engines, asked, texts, **options)

    result: RemoteVectors = run_with_engines(act)
    return result


def ranked(asked: RemoteTarget, *, raw_scores: bool = False) -> RemoteRanks:
    async def act(engines: RemoteEngines) -> RemoteRanks:
        return await rank(engines, asked, "q", ["a", "b"], truncate=False, raw_scores=raw_scores)

    result: RemoteRanks = run_with_engines(act)
    return result


def numbers(vector: bytes) -> list[float]:
    return list(array.array("f", vector))


def test_numbers_and_base64_are_vectors_of_length_one() -> None:
    encoded = base64.b64encode(array.array("f", [0.0, 5.0]).tobytes()).decode()
    data = [{"index": 1, "embedding": encoded}, {"index": 0, "embedding": [3, 4]}]

    with fake_engine(answers({"data": data, "usage": {"prompt_tokens": 5}})) as engine:
        result = embedded(target(engine.url), "a", "b", dimensions=2)

    assert [numbers(vector) for vector in result.vectors] == [
        pytest.approx([0.6, 0.8]),
        [0.0, 1.0],
    ]
    assert result.num_tokens == 5
    (asked,) = engine.asked
    assert asked.path == "/v1/embeddings"
    assert asked.body == {
        "model": "m",
        "input": ["a", "b"],
        "encoding_format": "base64",
        "dimensions": 2,
    }


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 7, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
        [{"index": 0, "embedding": []}, {"index": 1, "embedding": []}],
        [{"index": 0, "embedding": ["x"]}, {"index": 1, "embedding": [1.0]}],
        [{"index": 0, "embedding": "not base64!"}, {"index": 1, "embedding": [1.0]}],
        [{"index": 0, "embedding": "AAAA"}, {"index": 1, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1e400]}, {"index": 1, "embedding": [1.0]}],
        {"index": 0},
        None,
    ],
)
def test_vectors_in_another_format_are_one_error(data: Any) -> None:
    with fake_engine(answers({"data": data})) as engine:
        with pytest.raises(RemoteEngineError, match="another format"):
            embedded(target(engine.url), "a", "b")


def test_scores_keep_the_order_of_the_documents() -> None:
    results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]

    with fake_engine(answers({"results": results, "usage": {"total_tokens": 4}})) as engine:
        result = ranked(target(engine.url))

    assert result.scores == (0.1, 0.9)
    assert (result.are_probabilities, result.num_tokens) == (True, 4)


def test_the_list_alone_is_understood_and_llama_server_has_logits() -> None:
    results = [{"index": 0, "score": -3}, {"index": 1, "score": 2}]

    with fake_engine(answers(results)) as engine:
        result = ranked(target(engine.url, engine=EngineKind.LLAMA_SERVER))

    assert result.scores == (-3.0, 2.0)
    assert not result.are_probabilities


def test_raw_scores_are_refused_where_the_engine_has_none() -> None:
    with pytest.raises(UsageError, match="raw_scores"):
        ranked(target("http://127.0.0.1:9", engine=EngineKind.VLLM), raw_scores=True)


@pytest.mark.parametrize(
    "results", [[], [{"index": 0, "relevance_score": math.nan}], [{"index": "0"}], 5]
)
def test_scores_in_another_format_are_one_error(results: Any) -> None:
    with fake_engine(answers({"results": results})) as engine:
        with pytest.raises(RemoteEngineError, match="another format"):
            ranked(target(engine.url))


def test_another_address_embeds_if_the_first_is_away() -> None:
    data = [{"index": 0, "embedding": [1.0]}]

    with fake_engine(answers({"data": data})) as engine:
        assert embedded(target(refused_url(), engine.url), "a").vectors


def test_long_inputs_are_cut_where_the_engine_can() -> None:
    data = [{"index": 0, "embedding": [1.0]}]

    with fake_engine(answers({"data": data})) as engine:
        embedded(target(engine.url, engine=EngineKind.VLLM), "a", truncate=True)
        embedded(target(engine.url, engine=EngineKind.LOCALRUN), "a", truncate=True)
        embedded(target(engine.url), "a", truncate=True)

    fields = [set(each.body) - {"model", "input", "encoding_format"} for each in engine.asked]
    assert fields == [{"truncate_prompt_tokens"}, {"truncate"}, set()]
