"""Requests to embed and rank, checked and tokenized on a vocabulary of letters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.chat.budget import Allowance
from localrun.engine.embedder import EmbeddingJob
from localrun.engine.params import Pooling
from localrun.errors import LoadError, UsageError
from localrun.runner.embedding import EmbeddingPreparer
from localrun.runner.events import job_event
from localrun.runner.messages import Embed, Embeddings, Ranks, Rerank

if TYPE_CHECKING:
    from collections.abc import Callable

BOS, END, SEP, CONTROL = 200, 201, 202, 203
CONTEXT = 10


@dataclass
class Letters:
    """A token is a letter's code; ``<c>`` is a control token."""

    pooling: Pooling | None = None
    has_encoder: bool = False
    ends_inputs: bool = True
    num_vocab: int = 256
    embedding_length: int = 4
    class_labels: list[str] = field(default_factory=lambda: [""])
    rerank_template: str | None = None
    control_texts: list[str] = field(default_factory=lambda: ["<c>"])
    separators: dict[str, int] = field(default_factory=lambda: {"bos": BOS, "eos": END, "sep": SEP})

    def tokenize(
        self, text: str, *, is_start: bool = True, tick: Callable[[], object] = bool
    ) -> list[int]:
        tick()
        codes = list(text.replace("<c>", chr(CONTROL)).encode("latin-1"))
        return [BOS, *codes, END] if is_start and text else codes

    def tokenize_inside(self, text: str, *, tick: Callable[[], object] = bool) -> list[int]:
        return self.tokenize(text, is_start=False, tick=tick)


def embed(model: Letters, **fields: object) -> EmbeddingJob:
    request = Embed(request_id=7, **fields)  # type: ignore[arg-type]
    return EmbeddingPreparer(model, num_ctx=CONTEXT).job(request, Allowance())


def rerank(model: Letters, query: str, *documents: str, cut: bool = False) -> EmbeddingJob:
    request = Rerank(request_id=7, query=query, documents=documents, truncate=cut)
    return EmbeddingPreparer(model, num_ctx=CONTEXT).job(request, Allowance())


@pytest.mark.parametrize(
    ("of_file", "asked", "expected"),
    [
        (None, None, Pooling.MEAN),
        (Pooling.CLS, None, Pooling.CLS),
        (Pooling.CLS, Pooling.LAST, Pooling.LAST),
        (Pooling.RANK, Pooling.MEAN, Pooling.MEAN),
    ],
)
def test_the_request_says_how_to_pool_or_else_the_file(
    of_file: Pooling | None, asked: Pooling | None, expected: Pooling
) -> None:
    assert embed(Letters(of_file), inputs=("a",), pooling=asked).pooling is expected


@pytest.mark.parametrize(("ends", "expected"), [(True, END), (False, ord("x"))])
def test_a_long_input_is_cut_and_keeps_the_token_that_ends_it(*, ends: bool, expected: int) -> None:
    found = embed(Letters(ends_inputs=ends), inputs=("x" * 50, "a"), truncate=True)

    assert found.inputs[0] == [BOS, *[ord("x")] * (CONTEXT - 2), expected]
    assert found.inputs[1] == [BOS, ord("a"), END]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"inputs": ("x" * 50,)}, "input"),
        ({"inputs": ("",)}, "input"),
        ({"inputs": ((256,),)}, "input"),
        ({"inputs": ((-1,),)}, "input"),
        ({"inputs": ("a",) * 4_000_000}, "input"),
        ({"inputs": ("a",), "dimensions": 5}, "dimensions"),
        ({"inputs": ("a",), "pooling": Pooling.RANK}, "pooling"),
    ],
)
def test_a_wrong_request_fails_by_name(fields: dict[str, object], param: str) -> None:
    with pytest.raises(UsageError) as caught:
        embed(Letters(), **fields)

    assert caught.value.param == param


def test_models_of_two_parts_are_refused() -> None:
    with pytest.raises(UsageError, match="encoder"):
        embed(Letters(has_encoder=True), inputs=("a",))


def test_a_pair_has_separators_and_spells_no_control_token() -> None:
    found = rerank(Letters(Pooling.RANK), "q", "<c>").inputs

    assert found == [[BOS, ord("q"), END, SEP, *b"<c>", END]]


def test_a_pair_is_written_by_the_template_of_the_model_in_one_go() -> None:
    model = Letters(Pooling.RANK, rerank_template="<c>{query}|{document}")

    found = rerank(model, "{document}"[:4], "d<c>")

    assert found.inputs == [[CONTROL, *b"{doc|d<c>"]]


@pytest.mark.parametrize("template", [None, "{query}|{document}"])
def test_a_document_that_is_too_long_is_refused_or_cut(template: str | None) -> None:
    model = Letters(Pooling.RANK, rerank_template=template)

    cut = rerank(model, "q", "d" * 99, cut=True)
    with pytest.raises(UsageError) as refused:
        rerank(model, "q", "d" * 99)

    assert refused.value.param == "documents"
    assert 5 < len(cut.inputs[0]) <= CONTEXT
    with pytest.raises(UsageError):
        rerank(model, "q" * 99, "d", cut=True)


@pytest.mark.parametrize(
    "model", [Letters(), Letters(Pooling.MEAN), Letters(Pooling.RANK, class_labels=["x"] * 5)]
)
def test_a_model_without_a_sound_head_does_not_rank(model: Letters) -> None:
    with pytest.raises(UsageError):
        rerank(model, "q", "d")


def ended(pooling: Pooling, *vectors: list[float], index: int = 0) -> EmbeddingJob:
    return EmbeddingJob(
        request_id=7,
        inputs=[[1, 2]] * len(vectors),
        pooling=pooling,
        vectors=[np.array(vector) for vector in vectors],
        score_index=index,
    )


def test_the_answer_has_the_bytes_of_normalised_vectors() -> None:
    event = job_event(ended(Pooling.MEAN, [3.0, 4.0], [0.0, 2.0]))

    assert isinstance(event, Embeddings)
    assert np.frombuffer(event.vectors, "<f4").tolist() == pytest.approx([0.6, 0.8, 0, 1])
    assert (event.dimensions, event.token_counts) == (2, (2, 2))


@pytest.mark.parametrize(
    ("vector", "index", "score", "is_probability"),
    [
        ([-3.5], 0, -3.5, False),
        ([0.25, 0.75], 1, 0.75, True),
        ([1.0, 1.0 + np.log(3)], 1, 0.75, True),
        ([0.0, 2000.0], 0, 0.0, True),
    ],
)
def test_a_score_is_a_logit_or_a_share(
    *, vector: list[float], index: int, score: float, is_probability: bool
) -> None:
    event = job_event(ended(Pooling.RANK, vector, index=index))

    assert isinstance(event, Ranks)
    assert event.scores == pytest.approx((score,))
    assert event.are_probabilities is is_probability


def test_the_output_that_means_yes_is_the_score() -> None:
    model = Letters(Pooling.RANK, class_labels=["no", "yes"])

    assert rerank(model, "q", "d").score_index == 1


def test_a_job_that_broke_or_was_cancelled_has_failed() -> None:
    broken, cancelled = ended(Pooling.MEAN), ended(Pooling.MEAN)
    broken.failure, cancelled.is_cancelled = LoadError("no memory"), True
    nan = ended(Pooling.RANK, [float("nan")])

    codes = [getattr(job_event(one), "code", None) for one in (broken, cancelled, nan)]

    assert codes == ["load_failed", "cancelled", "backend_error"]
