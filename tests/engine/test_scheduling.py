"""Everything that may happen to an engine, in any order, on a backend that checks every cell.

Requests of several adapter sets, with and without readers, that stop, shift or are guessed, come
and are cancelled at any time; steps are broken off, and refused although the books say that there
is room. Whatever the order, each request says what it says alone.
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from localrun.engine.cache.cell_supply import CellSupply
from localrun.engine.cache.kv_cache import FULL, HYBRID, RECURRENT, WINDOW, CellLayout
from localrun.engine.cache.layout_rule import LayoutRule
from localrun.engine.cache.prefix_cache import PrefixCache
from localrun.engine.context_shift import ContextShift
from localrun.engine.llama.lora_adapters import AdapterFile, AdapterSet
from localrun.engine.pacing import prompt_pacing
from localrun.engine.pacing.reader import AnswerReader
from localrun.engine.params import FinishReason
from localrun.engine.sequence import Sequence
from localrun.engine.text import TextStream
from tests.engine.test_scheduler import BUDGET, CELLS, DRAFTS, Bench, Guesser, prompts

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    from localrun.engine.engine import StepOutput

FILES = [AdapterFile(name, 1, 1) for name in "ab"]
SETS: list[AdapterSet] = [(), ((FILES[0], 1.0),), ((FILES[0], 1.0), (FILES[1], 0.5))]
END = 37  # this position is the end of the text, where a request does not shift past it
READING = st.sampled_from([None, 0.0005, 0.005, 1.0])  # seconds a token; a step takes 0.003
PATIENCE_STEPS = 400  # in which the request that came first among the open ones must move on


def alone(seq: Sequence) -> list[list[int]]:
    """Return the tokens that a sequence has after each drawn one when nothing else happens."""
    tokens = [*seq.tokens]
    states = [[*tokens]]
    num_dropped = 0
    while num_dropped + len(tokens) < seq.max_tokens:
        tokens.append(len(tokens))
        text = "x" * len(states)
        is_over = (
            tokens[-1] == END
            or text in seq.text._stops
            or num_dropped + len(tokens) >= seq.max_tokens
        )
        if seq.shift is not None and len(tokens) >= seq.shift.edge and not is_over:
            first = seq.shift.num_keep
            num_gone = max(1, (len(tokens) - first) // 2)
            del tokens[first : first + num_gone]
            num_dropped += num_gone
        states.append([*tokens])
        if is_over:
            break
    return states


class Wavering(LayoutRule):
    """Changes its mind as it is told: 0 stays, 1 and 2 are the other layouts."""

    def __init__(self, changes: list[int]) -> None:
        super().__init__()
        self._changes = cycle(changes)

    def choose(
        self, running: Sequences[Sequence], current: CellLayout, num_steps: int = 1
    ) -> CellLayout:
        del num_steps
        others = [layout for layout in CellLayout if layout is not current]
        return [current, *others][next(self._changes) if running else 0]


class Machine(RuleBasedStateMachine):
    """The engine under all that may happen."""

    memory = FULL
    switches = False

    @initialize(
        guesses=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=8),
        changes=st.lists(st.integers(0, 2), min_size=1, max_size=9),
    )
    def begin(self, guesses: list[tuple[int, int]], changes: list[int]) -> None:
        speculation = Guesser(guesses) if self.memory.is_plain and guesses else None
        self.bench = Bench(
            memory=self.memory,
            eog=frozenset({END}),
            speculation=speculation,
            rule=Wavering(changes) if self.switches else None,
            supply=CellSupply(CELLS, cell_bytes=1, free_bytes=lambda: 2 * CELLS, step_cells=8),
        )
        self.expected: dict[int, list[list[int]]] = {}
        self.sequences: dict[int, Sequence] = {}
        self.ends: list[int] = []
        self.cut_off: set[int] = set()  # by a cancel, or for want of cells
        self.still: tuple[int, int, int] = (0, 0, 0)
        self.num_still = 0

    @rule(
        prompt=prompts,
        new=st.integers(1, 40),
        adapters=st.sampled_from(SETS),
        shift=st.none() | st.tuples(st.integers(0, 30), st.integers(12, CELLS)),
        stop=st.none() | st.integers(1, 20),
        reads_s=READING,
    )
    def submit(self, prompt: list[int], new: int, **kinds: Any) -> None:
        number = len(self.expected) + 1
        shift = kinds["shift"]
        if shift is not None:
            prompt = prompt[: shift[1] - 1]
        seq = Sequence(
            request_id=number,
            tokens=[*prompt],
            max_tokens=len(prompt) + new if shift else min(len(prompt) + new, CELLS),
            adapters=kinds["adapters"],
            shift=None if shift is None else ContextShift.keeping(*shift),
            text=TextStream(["x" * kinds["stop"]] if kinds["stop"] else []),
            reader=AnswerReader(kinds["reads_s"]) if kinds["reads_s"] else None,
        )
        self.expected[number] = alone(seq)
        self.sequences[number] = seq
        self.bench.engine.submit(seq)

    @rule(
        prompt=prompts,
        adapters=st.sampled_from(SETS),
        news=st.lists(st.integers(1, 9), max_size=3),
        reads_s=READING,
    )
    def submit_choices(
        self, prompt: list[int], adapters: AdapterSet, news: list[int], reads_s: float | None
    ) -> None:
        for new in news:
            self.submit(prompt, new, adapters=adapters, shift=None, stop=None, reads_s=reads_s)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.expected)))
        output = self.bench.engine.cancel(number)
        assert (output is None) == (number in self.ends)
        if output is not None:
            assert output.finish is FinishReason.CANCELLED
            self.cut_off.add(number)
            self.ends.append(number)

    @rule(calls=st.integers(1, 3))
    def break_off(self, calls: int) -> None:
        self.bench.backend.aborts.add(self.bench.backend.num_calls + calls)

    @rule(calls=st.integers(1, 3))
    def refuse(self, calls: int) -> None:
        self.bench.backend.refusals.add(self.bench.backend.num_calls + calls)

    @precondition(lambda self: isinstance(self.bench.cache, PrefixCache))
    @rule(pieces=st.integers(1, 4))
    def compact(self, pieces: int) -> None:
        assert isinstance(self.bench.cache, PrefixCache)
        for _ in range(pieces):
            self.bench.cache.compact()

    @rule(steps=st.integers(1, 12), repeats=st.integers(0, 3))
    def step(self, steps: int, repeats: int) -> None:
        for _ in range(steps):
            if self.bench.engine.has_work:
                self._step(repeats)

    @invariant()
    def no_step_is_too_large(self) -> None:
        for step in self.bench.backend.steps:
            assert 0 < sum(width for _, width in step) <= BUDGET + DRAFTS
        assert len(self.bench.scheduler.running) <= 4

    def teardown(self) -> None:
        while self.bench.engine.has_work:
            self._step()
        assert sorted(self.ends) == sorted(self.expected)
        assert sorted(self.bench.backend.retired) == sorted(self.expected)
        for number, seq in self.sequences.items():
            states = self.expected[number]
            if number not in self.cut_off:
                assert seq.num_generated == len(states) - 1
            assert seq.tokens == states[seq.num_generated]
        self.bench.check_end()

    def _step(self, repeats: int = 0) -> None:
        is_refused = self.bench.backend.num_calls + 1 in self.bench.backend.refusals
        outputs = self.bench.step(repeats)
        for output in outputs:
            self._note(output, is_refused=is_refused)
        self._see_progress()

    def _note(self, output: StepOutput, *, is_refused: bool) -> None:
        number = output.seq.request_id
        assert number not in self.ends
        if output.finish is not None:
            self.ends.append(number)
            if is_refused:
                self.cut_off.add(number)

    def _see_progress(self) -> None:
        """Nobody starves: whoever came first is the next to move on."""
        first = min(set(self.expected) - set(self.ends), default=0)
        seq = self.sequences.get(first)
        state = (first, seq.num_generated, seq.num_computed) if seq else (0, 0, 0)
        self.num_still = self.num_still + 1 if state == self.still and first else 0
        self.still = state
        assert self.num_still < PATIENCE_STEPS, f"request {first} starves"


class SwitchingMachine(Machine):
    """The cells move between all layouts at any step, or cannot for want of memory."""

    switches = True

    @rule()
    def change_memory(self) -> None:
        self.bench.backend.has_memory = not self.bench.backend.has_memory


class HybridMachine(Machine):
    memory = HYBRID


class RecurrentMachine(Machine):
    memory = RECURRENT


class WindowMachine(Machine):
    memory = WINDOW


@pytest.mark.parametrize(
    "machine", [Machine, SwitchingMachine, HybridMachine, RecurrentMachine, WindowMachine]
)
def test_whatever_happens_each_request_says_what_it_says_alone(
    machine: type[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_pacing, "LEAST_TOKENS", 4)  # a step has 16 at most
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=50, stateful_step_count=25, deadline=None, derandomize=True),
    )
