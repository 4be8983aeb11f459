"""Embeddings and ranks are llama-server's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.engine.params import Pooling
from localrun.runner.messages import Embed, Embeddings, Ranks, Rerank
from tests.engine.tiny import RANK, encoder, full_attention
from tests.peer.conftest import free_port
from tests.peer.pair import Ours, Theirs

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ("hello", "The sea is blue. " * 10, "é 😀 x", "a" * 40, "one two three " * 25)
ALIKE = 0.9999


@pytest.mark.parametrize("pooling", [Pooling.MEAN, Pooling.CLS, Pooling.LAST])
@pytest.mark.parametrize("write", [encoder, full_attention])
def test_a_text_has_the_same_vector(
    write: object, pooling: Pooling, guide_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    (encoder if write is encoder else full_attention)(path, guide_path)
    ours = Ours(path)
    theirs = Theirs(path, free_port(), ["--embeddings", "--pooling", pooling])

    try:
        answer, _ = ours.ask(Embed, inputs=TEXTS, pooling=pooling)
        found = theirs.post("/v1/embeddings", {"input": list(TEXTS), "model": "any"})
    finally:
        ours.close()
        theirs.close()

    assert isinstance(answer, Embeddings)
    vectors = np.frombuffer(answer.vectors, "<f4").reshape(len(TEXTS), -1)
    expected = np.array([one["embedding"] for one in found["data"]])
    assert ((vectors * expected).sum(axis=1) > ALIKE).all()
    assert sum(answer.token_counts) == found["usage"]["prompt_tokens"]


def test_documents_have_the_same_scores(guide_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    encoder(path, guide_path, pooling=RANK)
    ours, theirs = Ours(path), Theirs(path, free_port(), ["--reranking"])

    try:
        answer, _ = ours.ask(Rerank, query="sea", documents=TEXTS)
        found = theirs.post("/v1/rerank", {"query": "sea", "documents": list(TEXTS)})
    finally:
        ours.close()
        theirs.close()

    assert isinstance(answer, Ranks)
    expected = {one["index"]: one["relevance_score"] for one in found["results"]}
    assert list(answer.scores) == pytest.approx([expected[it] for it in range(5)], abs=2e-3)
