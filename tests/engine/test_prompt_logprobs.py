"""The scores of a prompt are those that its tokens had when each was computed alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
import pytest
from llama_cpp import llama_cpp as api

from localrun.engine.context import ABORTED, LlamaContext
from localrun.engine.engine import Engine
from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.scores import Scores, TokenScore, log_probabilities
from localrun.engine.sequence import Sequence
from localrun.engine.speculation.predicted_output import PredictedOutput
from localrun.engine.speculation.speculator import Speculator
from tests.engine.tiny import sliding_window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = "Once there was a fox who asked the old crow what she had in her beak. 7 + 5 = 12. " * 4
CLOSE = 0.4  # other widths of steps take other kernels, which makes 0.2; a wrong row makes 5
native_log = start()


def loaded(path: Path) -> Model:
    return load_model([path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)


@pytest.fixture(scope="module", params=["guide", "window"])
def model(
    request: pytest.FixtureRequest, guide_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Model]:
    path = guide_path
    if request.param == "window":
        path = tmp_path_factory.mktemp("model") / "window.gguf"
        sliding_window(path, guide_path)
    found = loaded(path)
    yield found
    found.close()


class Running:
    """An engine whose context has room for few logits beside those of its sequences."""

    def __init__(self, model: Model, num_cells: int = 1024, num_drafts: int = 5) -> None:
        limits = SchedulerLimits(num_slots=3, num_cells=num_cells, num_drafts=num_drafts)
        self.context = LlamaContext(model, limits, num_threads=1)
        speculation = Speculator([PredictedOutput()]) if num_drafts else None
        self.engine = Engine(
            self.context,
            Scheduler(limits, self.context.open_cache()),
            pieces=model.pieces,
            eog=frozenset(),
            speculation=speculation,
        )

    def run(self, *sequences: Sequence) -> None:
        for seq in sequences:
            self.engine.submit(seq)
        while self.engine.has_work:
            self.engine.step()


def scored(tokens: list[int], number: int, *, has_start: bool = False, new: int = 2) -> Sequence:
    return Sequence(
        request_id=number,
        tokens=[*tokens],
        max_tokens=len(tokens) + new,
        scores=Scores(3, len(tokens), has_start=has_start),
    )


def alone(model: Model, tokens: list[int]) -> list[float]:
    """Return what each token but the first has behind those before it, a step for each."""
    limits = SchedulerLimits(num_slots=1, num_cells=1024)
    context = LlamaContext(model, limits, num_threads=1)
    seq = Sequence(request_id=1, tokens=tokens[:1], max_tokens=len(tokens) + 1)
    seq.scores = Scores(0, 1)
    found = []
    engine = Engine(
        context, Scheduler(limits, context.open_cache()), pieces=model.pieces, eog=frozenset()
    )
    engine.submit(seq)
    for token in tokens[1:]:
        engine.step()
        logits = context._sampler.logits(0)
        found.append(log_probabilities(logits, token, 0)[0])
        seq.tokens[-1] = token
    engine.cancel(1)
    context.close()
    return found


def logprobs(scores: tuple[TokenScore, ...]) -> list[float]:
    return [score.logprob for score in scores if score.logprob is not None]


def test_an_aborted_step_loses_no_score(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = model.tokenize(TEXT)[:30]
    decode, codes = llama_cpp.llama_decode, []
    running = Running(model)

    def aborted(handle: object, batch: api.llama_batch) -> int:
        codes.append(decode(handle, batch))
        return ABORTED if len(codes) == 1 else codes[-1]

    monkeypatch.setattr(llama_cpp, "llama_decode", aborted)
    seq = scored(tokens, 1)
    running.run(seq)
    running.context.close()

    assert seq.scores is not None
    assert seq.scores.num_prompt_scored == len(tokens)
    assert seq.num_generated == 2


def test_they_are_so_whatever_is_cached_and_whoever_else_runs(model: Model) -> None:
    tokens = model.tokenize(TEXT)
    expected, running = alone(model, tokens), Running(model)
    cached = Sequence(request_id=1, tokens=[*tokens], max_tokens=len(tokens) + 3)
    running.run(cached)

    both = [scored(tokens, 2), scored(tokens[: len(tokens) // 2], 3)]
    running.run(Sequence(request_id=4, tokens=tokens[:9], max_tokens=60), *both)

    for seq in both:
        scores = seq.release_scores()
        pieces = [score.piece for score in scores[: seq.num_prompt]]
        assert pieces == [model.spelled_piece(token) for token in seq.tokens[: seq.num_prompt]]
        assert scores[0].logprob is None
        assert len(scores) == seq.num_prompt + 2
        found = logprobs(scores[: seq.num_prompt])
        assert np.allclose(found, expected[: seq.num_prompt - 1], atol=CLOSE)
    running.context.close()


def test_a_prompt_that_is_preempted_is_scored_once(model: Model) -> None:
    tokens = model.tokenize(TEXT)
    running = Running(model, num_cells=2 * len(tokens) + 20)
    other = Sequence(request_id=1, tokens=tokens[:40], max_tokens=2 * len(tokens))
    seq = scored(tokens, 2, new=30)
    running.run(other, seq)

    assert len(seq.release_scores()) == len(tokens) + 30
    running.context.close()


def test_a_start_that_the_text_lacks_has_no_score(guide_path: Path) -> None:
    model = loaded(guide_path)
    tokens, running = model.tokenize("7 + 5 = 12."), Running(model, num_drafts=0)
    seq, one = scored(tokens, 1, has_start=True), scored(tokens[:1], 2)
    running.run(seq, one)

    scores = seq.release_scores()
    assert scores[0].piece == model.spelled_piece(tokens[1])
    assert scores[0].logprob is not None
    assert [score.logprob is None for score in one.release_scores()] == [True, False, False]
    running.context.close()
    model.close()


def test_what_a_client_expected_is_counted_apart(guide_path: Path) -> None:
    model = loaded(guide_path)
    prompt = model.tokenize("<|im_start|>user\n7 + 5 =<|im_end|>\n<|im_start|>assistant\n")
    plain = Sequence(request_id=1, tokens=[*prompt], max_tokens=len(prompt) + 9)
    running = Running(model)
    running.run(plain)
    said = tuple(plain.tokens[len(prompt) :])
    seq = Sequence(request_id=2, tokens=[*prompt], max_tokens=len(prompt) + 9, predicted=said)
    running.run(seq)

    num_predicted, num_accepted = seq.drafts_by_source[PredictedOutput.name]
    assert num_predicted == seq.num_drafted
    assert 0 < num_accepted <= num_predicted
    assert plain.drafts_by_source == {}
    running.context.close()
    model.close()
