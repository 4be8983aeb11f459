"""What comes from the cache equals what is computed anew, for every kind of memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from localrun.engine.cache.prefix_cache import PrefixCache
from localrun.engine.context import DEFAULT_OPTIONS, LlamaContext
from localrun.engine.engine import AbortedError, Engine
from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.params import LoadOptions, SamplingParams
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.sequence import Sequence
from tests.engine.test_context import generate, run
from tests.engine.tiny import KINDS
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.engine.scheduler import ScheduledChunk

LIMITS = SchedulerLimits(num_slots=4, num_cells=2048, min_shared_tokens=8)
GREEDY = SamplingParams(temperature=0)
TRIES = 20  # for the thread that aborts to be in time for the step
native_log = start()


@pytest.fixture(scope="module", params=KINDS)
def model(
    request: pytest.FixtureRequest, guide_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Model]:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    KINDS[request.param](path, guide_path)
    found = load_model([path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)
    yield found
    found.close()


class Running:
    """An engine that is kept between requests."""

    def __init__(
        self, model: Model, limits: SchedulerLimits = LIMITS, options: LoadOptions = DEFAULT_OPTIONS
    ) -> None:
        self.model = model
        self.context = LlamaContext(model, limits, num_threads=1, options=options)
        self.cache = self.context.open_cache()
        self.scheduler = Scheduler(limits, self.cache)
        self.engine = Engine(self.context, self.scheduler, pieces=model.pieces, eog=frozenset())
        self._num_requests = 0

    def ask(self, *prompts: list[int], new: int = 12) -> list[Sequence]:
        sequences = []
        for prompt in prompts:
            self._num_requests += 1
            sequences.append(sequence(self._num_requests, prompt, new))
        run(self.engine, *sequences)
        return sequences


@pytest.fixture
def running(model: Model) -> Iterator[Running]:
    found = Running(model)
    yield found
    found.cache.clear()
    assert found.cache.num_used_cells == 0
    found.context.close()


def sequence(request_id: int, prompt: list[int], new: int) -> Sequence:
    return Sequence(
        request_id=request_id,
        tokens=[*prompt],
        max_tokens=len(prompt) + new,
        sampling=GREEDY,
    )


def alone(model: Model, prompt: list[int], new: int = 12) -> list[int]:
    """Return what a fresh context says."""
    context = LlamaContext(model, LIMITS, num_threads=1)
    seq = sequence(1, prompt, new)
    generate(model, context, seq, eog=frozenset())
    context.close()
    return seq.tokens


def words(model: Model, text: str, count: int) -> list[int]:
    return (model.tokenize(text) * count)[:count]


def test_the_kinds_are_told_apart(
    model: Model, running: Running, request: pytest.FixtureRequest
) -> None:
    is_shared = "full_attention" in request.node.name

    assert model.shares_cells is is_shared
    assert isinstance(running.cache, PrefixCache) is is_shared


def test_turns_of_a_chat_say_what_they_say_without_a_cache(model: Model, running: Running) -> None:
    history = words(model, "Once upon a time there was a fox. ", 60)
    for turn in range(4):
        history += words(model, f"And then came number {turn}! ", 20)
        (seq,) = running.ask(history)

        assert seq.tokens == alone(model, history)
        assert seq.num_cached == (0 if turn == 0 else len(history) - 20 - 1)
        history = seq.tokens


def test_a_prefix_that_was_out_of_the_cells_says_what_it_says_without_a_cache(
    model: Model, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not model.shares_cells:
        pytest.skip("nothing is moved")
    monkeypatch.setattr("localrun.engine.cache.idle_prefixes.OFFLOAD_AGE_TOKENS", 20)
    monkeypatch.setattr("localrun.engine.cache.host_cache.PIECE_TOKENS", 32)
    history = words(model, "Once upon a time there was a fox. ", 100)
    running.ask(history)
    running.ask([7, 8, 9], new=200)
    tree = running.cache.tree if isinstance(running.cache, PrefixCache) else None
    assert tree is not None
    assert tree.find(history, 100).length == 0

    (again,) = running.ask(history)

    assert again.num_cached == 99
    assert again.tokens == alone(model, history)


def test_prompts_that_fork_say_what_they_say_without_a_cache(
    model: Model, running: Running
) -> None:
    shared = words(model, "You are a helpful assistant and answer briefly. ", 70)
    prompts = [[*shared[:length], *words(model, "What else?", 9)] for length in (70, 35, 70, 50)]
    for prompt in prompts:
        (seq,) = running.ask(prompt)
        assert seq.tokens == alone(model, prompt)
    if model.shares_cells:
        (again,) = running.ask(prompts[1])
        assert again.num_cached == len(prompts[1]) - 1


def test_prompts_that_come_together_compute_their_prefix_once(
    model: Model, running: Running
) -> None:
    shared = words(model, "You are a helpful assistant and answer briefly. ", 90)
    prompts = [[*shared, 300 + number, 17, 18] for number in range(4)]

    sequences = running.ask(*prompts)

    assert [seq.num_cached for seq in sequences] == [0, 90, 90, 90]
    same = sum(seq.tokens == alone(model, seq.tokens[:93]) for seq in sequences)
    assert same >= 3  # batches of other sizes add in another order: a near-tie may fall differently


def test_a_preempted_sequence_goes_on_with_the_same_output(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Running(model, SchedulerLimits(num_slots=3, num_cells=256))
    preempt = small.scheduler.preempt_youngest
    preempted: list[bool] = []

    def spy() -> bool:
        preempted.append(preempt())
        return preempted[-1]

    monkeypatch.setattr(small.scheduler, "preempt_youngest", spy)
    prompts = [words(model, text, 60) for text in ("One fox. ", "Two dogs! ", "Three cats? ")]

    sequences = small.ask(*prompts, new=60)

    assert any(preempted)
    assert sum(seq.tokens == alone(model, seq.tokens[:60], 60) for seq in sequences) >= 2
    small.context.close()


def test_an_abort_breaks_a_long_prompt_off_and_harms_nobody(
    model: Model, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = words(model, "A long story about a fox and a dog. ", 1500)
    has_begun, broken_off = threading.Event(), list[bool]()
    forward = running.context.forward

    def noted(chunks: list[ScheduledChunk]) -> list[list[int]]:
        has_begun.set()
        try:
            return forward(chunks)
        except AbortedError:
            broken_off.append(True)
            raise

    def abort() -> None:
        assert has_begun.wait(HANG_S)
        running.context.abort()

    monkeypatch.setattr(running.context, "forward", noted)
    other = sequence(0, prompt[:40], 12)
    running.engine.submit(other)
    for attempt in range(1, TRIES):
        has_begun.clear()
        running.engine.submit(sequence(attempt, prompt[attempt:], 4))
        aborter = threading.Thread(target=abort)
        aborter.start()
        running.engine.step()
        aborter.join()
        running.engine.cancel(attempt)
        if broken_off:
            break
        running.context.clear_abort()

    assert broken_off
    while running.engine.has_work:
        running.engine.step()
    assert other.tokens == alone(model, prompt[:40])


def test_guide_says_the_same_with_and_without_a_cache(guide_path: Path) -> None:
    model = load_model(
        [guide_path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None
    )
    running = Running(model)
    history: list[int] = []
    same = []
    for question in ("How do I download a model?", "What is 7 + 5?", "How do I remove it?"):
        num_known = max(0, len(history) - 1)  # the last token drawn was never computed
        history += model.tokenize(
            f"<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        )
        (seq,) = running.ask(history, new=20)
        same.append(seq.tokens == alone(model, history, 20))
        assert seq.num_cached == num_known
        history = [*seq.tokens]

    assert same == [True, True, True]
    running.context.close()
    model.close()
