"""Copies of the states of real memories: computed from them equals computed anew."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from localrun.engine.cache.state_cache import StateCache
from localrun.engine.context_shift import ContextShift
from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.params import CacheType, LoadOptions
from localrun.engine.scheduler import SchedulerLimits
from localrun.engine.scores import Scores
from localrun.engine.sequence import Sequence
from tests.engine.cache.test_prefix_cache import GREEDY, Running, alone, sequence, words
from tests.engine.tiny import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.engine.engine import Engine

LIMITS = SchedulerLimits(num_slots=4, num_cells=1024, step_tokens=64, min_shared_tokens=8)
EXACT = LoadOptions(cache_type=CacheType.F32, flash_attention=False)  # in any order of cells
END = "<|im_end|>\n"
native_log = start()


@pytest.fixture(scope="module", params=["sliding_window", "hybrid", "recurrent"])
def model(
    request: pytest.FixtureRequest, guide_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Model]:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    KINDS[request.param](path, guide_path)
    found = load_model([path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)
    yield found
    found.close()


@pytest.fixture
def running(model: Model) -> Iterator[Running]:
    found = Running(model, LIMITS)
    yield found
    found.cache.clear()
    assert found.cache.num_used_cells == 0
    found.context.close()


def message(model: Model, role: str, text: str, count: int) -> list[int]:
    head = model.tokenize(f"<|im_start|>{role}\n")
    return [*head, *words(model, text, count), *model.tokenize(END)]


def asks(model: Model) -> list[int]:
    return model.tokenize("<|im_start|>assistant\n")


def drain(engine: Engine) -> None:
    while engine.has_work:
        engine.step()


def test_an_answer_that_is_made_again_computes_the_end_of_the_prompt_only(
    model: Model, running: Running
) -> None:
    system = message(model, "system", "You are a helpful fox. ", 40)
    chat = [*system, *message(model, "user", "What is a dog? ", 30), *asks(model)]
    other = [*system, *message(model, "user", "Where are the cats? ", 35), *asks(model)]
    (first,) = running.ask(chat)
    (again,) = running.ask(chat)
    (differing,) = running.ask(other)
    (goes_on,) = running.ask([*first.tokens, *message(model, "user", "Why? ", 10), *asks(model)])

    assert first.tokens == again.tokens == alone(model, chat)
    assert differing.tokens == alone(model, other)
    assert goes_on.tokens == alone(model, goes_on.tokens[: goes_on.num_prompt])
    assert len(chat) - again.num_cached <= len(asks(model)) + 1
    assert len(system) - 2 <= differing.num_cached <= len(system)
    assert goes_on.num_cached == len(first.tokens) - 1


def test_logits_behind_a_copy_are_those_without_it(model: Model) -> None:
    prompt = words(model, "Once upon a time there was a fox. ", 150)
    fresh, running = Running(model, LIMITS, EXACT), Running(model, LIMITS, EXACT)

    expected = logprobs(fresh, prompt, 1)
    logprobs(running, prompt, 1)
    for number in (2, 3):  # they take the cells that the window has left behind
        own = words(model, f"Number {number}? ", 200)
        running.engine.submit(sequence(number, [*prompt[:149], *own], 40))
        drain(running.engine)
    again = logprobs(running, prompt, 4)

    assert again == pytest.approx(expected, abs=1e-3)  # wrong rows make it 0.7 at least
    fresh.context.close()
    running.context.close()


def logprobs(running: Running, prompt: list[int], number: int) -> list[float]:
    seq = sequence(number, prompt, 40)
    seq.scores = Scores(5)
    running.engine.submit(seq)
    drain(running.engine)
    assert seq.num_cached == (0 if number == 1 else len(prompt) - 1)
    return [score.logprob or 0.0 for score in seq.release_scores()]


def test_states_that_share_cells_are_taken_out_whole(model: Model, running: Running) -> None:
    prompt = words(model, "Once upon a time there was a fox. ", 100)
    answers = [running.ask([*prompt, token])[0].tokens for token in (300, 400)]
    fresh = Running(model, LIMITS)

    for answer in answers:
        data = running.cache.export_run(answer[:-1], 0)
        assert data
        assert fresh.cache.import_run(answer[:-1], 0, data)
    for answer in answers:
        (seq,) = fresh.ask([*answer, 17])
        assert seq.num_cached == len(answer) - 1
        assert seq.tokens == alone(model, [*answer, 17])
    fresh.context.close()


def test_an_abort_costs_a_prompt_and_an_answer_beside_it_little(
    model: Model, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localrun.engine.cache.checkpoint_policy.MAX_DISTANCE_TOKENS", 64)
    writing = sequence(1, words(model, "Two dogs! ", 50), 40)
    running.engine.submit(writing)
    while writing.num_generated < 5:
        running.engine.step()
    reading = sequence(2, words(model, "A long story about a fox. ", 400), 8)
    running.engine.submit(reading)
    running.engine.step()
    while reading.num_computed < 200:
        running.engine.step()

    known = reading.num_computed
    running.context.abort()
    running.engine.step()

    if model.memory.has_state:
        assert writing.num_computed == 49
    assert known - 64 <= reading.num_computed <= known
    drain(running.engine)
    assert writing.tokens == alone(model, words(model, "Two dogs! ", 50), 40)
    assert reading.tokens == alone(model, words(model, "A long story about a fox. ", 400), 8)


def test_a_cancel_in_the_middle_of_a_prompt_leaves_its_copies_to_others(
    model: Model, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localrun.engine.cache.checkpoint_policy.MAX_DISTANCE_TOKENS", 64)
    prompt = words(model, "A long story about a fox. ", 400)
    running.engine.submit(sequence(100, prompt, 8))
    for _ in range(4):
        running.engine.step()
    running.engine.cancel(100)

    (seq,) = running.ask([*prompt[:150], *words(model, "Why not? ", 20)])

    assert 128 <= seq.num_cached < 150
    assert seq.tokens == alone(model, seq.tokens[: seq.num_prompt])


def test_a_shift_goes_on_as_a_fresh_prompt_would(model: Model, running: Running) -> None:
    system = message(model, "system", "You are a helpful fox. ", 40)
    prompt = [*system, *message(model, "user", "What is a dog? ", 30)]
    edge = 160
    seq = Sequence(
        request_id=1,
        tokens=[*prompt],
        max_tokens=300,
        sampling=GREEDY,
        shift=ContextShift.keeping(len(system), edge),
    )
    running.engine.submit(seq)
    steps: list[list[int]] = []
    while running.engine.has_work:
        if not steps or seq.num_dropped > len(steps[-1]):
            steps.append([0] * seq.num_dropped)
        running.engine.step()
    tail = seq.tokens[-20:]

    assert seq.num_dropped
    assert seq.num_generated == 300 - len(prompt)
    assert alone(model, seq.tokens[:-20], 20)[-20:] == tail


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_requests_says_what_each_says_alone(
    model: Model, running: Running, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localrun.engine.cache.checkpoint_policy.MAX_DISTANCE_TOKENS", 64)
    rng = random.Random(seed)  # noqa: S311 - the same storm each time
    systems = [message(model, "system", text, 60) for text in ("A fox. ", "Two dogs! ")]
    done: list[Sequence] = []
    for number in range(24):
        begun = rng.choice([seq.tokens for seq in done[-4:]] or systems)
        begin = rng.choice([rng.choice(systems), begun, begun[: rng.randrange(20, len(begun))]])
        prompt = [*begin[-600:], *message(model, "user", rng.choice("abcdef") + " is ", 12)]
        seq = sequence(number, [*prompt, *asks(model)], rng.randrange(4, 40))
        running.engine.submit(seq)
        done.append(seq)
        for _ in range(rng.randrange(6)):
            running.engine.step()
        if rng.random() < 0.15:
            running.context.abort()
        if rng.random() < 0.15:
            running.engine.cancel(rng.choice(done).request_id)
    drain(running.engine)

    same = [seq.tokens == answer_alone(model, seq) for seq in done]
    assert sum(seq.num_cached for seq in done) > 0.3 * sum(seq.num_prompt for seq in done)
    assert sum(same) >= len(same) - 2  # other batches add in another order: near-ties may fall
    assert isinstance(running.cache, StateCache)


def answer_alone(model: Model, seq: Sequence) -> list[int]:
    prompt = seq.tokens[: seq.num_prompt]
    return alone(model, prompt, seq.num_generated) if seq.num_generated else prompt
