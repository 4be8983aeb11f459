"""Arena: an engine on a real, tiny model whose cells move at random steps, and one without.

Requests of many kinds come, are cancelled, preempted and aborted, and cached prefixes leave the
cells and come back as saved prompts do. Each request generates what it generates alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from localrun.engine.cache.kv_cache import CellLayout
from localrun.engine.cache.layout_rule import LayoutRule
from localrun.engine.cache.stream_memory import CellPages
from localrun.engine.cache.switching_cache import SwitchingCache
from localrun.engine.context import LlamaContext
from localrun.engine.context_shift import ContextShift
from localrun.engine.engine import Engine
from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.params import FinishReason, SamplingParams
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.sequence import Sequence
from localrun.engine.speculation.prompt_lookup import PromptLookup
from localrun.engine.speculation.speculator import Speculator
from localrun.prefixes import common_prefix_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Sequence as Sequences
    from pathlib import Path

    import numpy as np

    from localrun.engine.llama.lora_adapters import AdapterSet

NUM_CTX = 512
LIMITS = SchedulerLimits(num_slots=6, num_cells=1024, step_tokens=64, stream_cells=NUM_CTX)
PLAIN = SchedulerLimits(num_slots=2, num_cells=1024, step_tokens=64)
GREEDY = SamplingParams(temperature=0)
NEAR_TIE = 0.02  # of the spread of logits: batches of other sizes add in another order
native_log = start()


def opened(kind: Callable[[Path, Path], None], folder: Path, guide_path: Path) -> Model:
    path = folder / "tiny.gguf"
    kind(path, guide_path)
    return load_model([path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)


class Wavering(LayoutRule):
    """Switches at random steps."""

    def __init__(self, chance: float, seed: int = 1) -> None:
        super().__init__()
        self.chance = chance
        self._random = Random(seed)  # noqa: S311 - the same switches each time

    def choose(
        self, running: Sequences[Sequence], current: CellLayout, num_steps: int = 1
    ) -> CellLayout:
        del num_steps
        if not running or self._random.random() >= self.chance:
            return current
        return self._random.choice([layout for layout in CellLayout if layout is not current])


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its prompt, the number of tokens to generate, and where its context shifts."""

    prompt: list[int]
    new: int
    edge: int | None = None
    adapters: AdapterSet = ()


class Arena:
    """An engine that switches, and another in which each request is alone."""

    def __init__(self, model: Model, limits: SchedulerLimits = LIMITS, chance: float = 0.2) -> None:
        self.model = model
        self.saved: list[tuple[list[int], bytes]] = []
        self.num_restored = 0
        self.rule = Wavering(chance)
        self.context = LlamaContext(model, limits, num_threads=1)
        cache = self.context.open_cache()
        assert isinstance(cache, SwitchingCache)
        cache._rule = self.rule
        cache._clock = lambda: 0.0  # moves cost nothing, whatever they take here
        cache._value_pages = CellPages(16, limits.stream_cells)  # small, as the models are
        self.cache = cache
        self.scheduler = Scheduler(limits, cache)
        speculation = Speculator([PromptLookup()])
        self.engine = self._engine(self.context, self.scheduler, speculation)
        self._plain = LlamaContext(model, PLAIN, num_threads=1)
        self._plain_cache = self._plain.open_cache()
        self._alone = self._engine(self._plain, Scheduler(PLAIN, self._plain_cache))

    def submit(self, number: int, prompt: list[int], new: int) -> Sequence:
        return self.ask(number, Asked(prompt, new))

    def ask(self, number: int, asked: Asked) -> Sequence:
        seq = sequence_of(number, asked)
        self.engine.submit(seq)
        return seq

    def is_streaming(self) -> bool:
        return not self.cache.layout.is_unified

    def step(self, draw: Random) -> None:
        """Make a step, which repeats itself now and then, and may be broken off then."""

        def may_repeat() -> bool:
            if draw.random() < 0.01:
                self.context.abort()
            return draw.random() < 0.6

        self.engine.step(may_repeat)
        self.context.clear_abort()

    def drain(self, draw: Random | None = None) -> None:
        while self.engine.has_work:
            if draw is None:
                self.engine.step()
            else:
                self.step(draw)

    def compact(self) -> None:
        """Do what is done while nothing runs."""
        while self.cache.compact():
            pass

    def says_alone(self, prompt: list[int], new: int) -> list[int]:
        return self.answer_alone(Asked(prompt, new))

    def answer_alone(self, asked: Asked) -> list[int]:
        seq = sequence_of(0, asked)
        self._alone.submit(seq)
        while self._alone.has_work:
            self._alone.step()
        self._plain_cache.clear()
        return seq.tokens

    def logits_alone(self, tokens: list[int], adapters: AdapterSet = ()) -> np.ndarray:
        """Return the logits behind tokens."""
        self.answer_alone(Asked(tokens, 1, adapters=adapters))
        return self._plain._sampler.logits(-1).copy()

    def save(self) -> None:
        """Copy a cached prompt out of the cells, as for the disk."""
        prompts = self.cache.cached_prompts()
        data = self.cache.export_run(prompts[-1], 0) if prompts else None
        if data is not None:
            self.saved = [*self.saved[-3:], (prompts[-1], data)]

    def restore(self) -> None:
        """Drop what no sequence uses, and bring a saved prompt back."""
        self.cache.clear()
        for tokens, data in self.saved:
            self.num_restored += self.cache.import_run(tokens, 0, data)

    def close(self) -> None:
        self.compact()
        self.cache.clear()
        assert self.cache.num_used_cells == 0
        assert self.context.num_holders == 0
        self.context.close()
        self._plain.close()

    def _engine(
        self, context: LlamaContext, scheduler: Scheduler, speculation: Speculator | None = None
    ) -> Engine:
        pieces = self.model.pieces
        return Engine(context, scheduler, pieces=pieces, eog=frozenset(), speculation=speculation)


def sequence_of(number: int, asked: Asked) -> Sequence:
    return Sequence(
        request_id=number,
        tokens=[*asked.prompt],
        max_tokens=len(asked.prompt) + asked.new,
        sampling=GREEDY,
        shift=None if asked.edge is None else ContextShift.keeping(4, asked.edge),
        adapters=asked.adapters,
    )


def requests_of(seed: int, count: int, adapters: AdapterSet = ()) -> Iterator[Asked]:
    """Yield requests, some of whose prompts begin as others do."""
    draw = Random(seed)  # noqa: S311 - the same requests each time
    known: list[list[int]] = [[]]
    for _ in range(count):
        base = draw.choice(known) if draw.random() < 0.6 else []
        prompt = base[: draw.randrange(len(base) + 1)]
        prompt = prompt + [draw.randrange(300, 900) for _ in range(draw.randrange(1, 90))]
        prompt = prompt[:300]
        known = [*known[-8:], prompt]
        edge = len(prompt) + 8 if draw.random() < 0.1 else None
        yield Asked(prompt, draw.randrange(1, 24), edge, adapters if draw.random() < 0.1 else ())


def say_what_they_say_alone(
    arena: Arena, seed: int, count: int, adapters: AdapterSet = ()
) -> Counter[str]:
    """Run random requests together and each alone; return how their answers compare.

    Answers may part only where the two likeliest tokens are nearly as likely. Behind a context
    shift, which tokens were dropped is not known any more, so that such answers are only counted.
    """
    draw = Random(seed)  # noqa: S311 - the same requests each time
    asked: dict[int, Asked] = {}
    sequences: dict[int, Sequence] = {}
    for number, request in enumerate(requests_of(seed, count, adapters), 1):
        asked[number] = request
        sequences[number] = arena.ask(number, request)
        for _ in range(draw.choice((0, 0, 1, 3, 9))):
            arena.step(draw)
            _disturb(arena, draw, number)
    arena.drain(draw)
    return Counter(_comparison(arena, asked[number], seq) for number, seq in sequences.items())


def _comparison(arena: Arena, asked: Asked, seq: Sequence) -> str:
    expected = arena.answer_alone(asked)
    if seq.tokens == expected[: len(seq.tokens)]:
        return "cancelled" if seq.finish is FinishReason.CANCELLED else "same"
    if asked.edge is not None:
        is_cut = seq.finish is FinishReason.CANCELLED
        return "shifted and cancelled" if is_cut else "parted behind a shift"
    position = common_prefix_length(seq.tokens, expected)
    logits = arena.logits_alone(seq.tokens[:position], asked.adapters)
    gap = logits.max() - logits[seq.tokens[position]]
    assert gap < NEAR_TIE * logits.std(), seq.request_id
    return "parted at a tie"


def _disturb(arena: Arena, draw: Random, number: int) -> None:
    chance = draw.random()
    if chance < 0.05:
        arena.engine.cancel(draw.randrange(max(1, number - 8), number + 1))
    elif chance < 0.1:
        arena.scheduler.preempt_youngest()
    elif chance < 0.15:
        arena.context.abort()
        arena.engine.step()
        arena.context.clear_abort()
    elif chance < 0.2:
        arena.cache.supply.num_cells = draw.choice((1024, 640))
    elif chance < 0.22:
        arena.save()
    elif chance < 0.23:
        arena.restore()
