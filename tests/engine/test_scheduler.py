"""The scheduler and the engine's loop on a backend that samples positions."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.engine.engine import Engine, OutOfCellsError, Output
from localrun.engine.params import FinishReason
from localrun.engine.scheduler import Limits, Row, Scheduler
from localrun.engine.sequence import Sequence

SLOTS, CELLS, BUDGET = 4, 64, 16
PIECES = [b"x"] * 1000


@dataclass
class PositionBackend:
    """Draws, for every row, the position it was drawn at; counts cells like a real cache."""

    cells: dict[int, int] = field(default_factory=dict)
    step_tokens: list[int] = field(default_factory=list)
    retired: list[int] = field(default_factory=list)

    def forward(self, rows: list[Row]) -> list[int]:
        for row in rows:
            assert row.seq.slot is not None
            assert self.cells.get(row.seq.slot, 0) == row.seq.num_computed
        if sum(self.cells.values()) + sum(row.count for row in rows) > CELLS:
            raise OutOfCellsError
        self.step_tokens.append(sum(row.count for row in rows))
        for row in rows:
            assert row.seq.slot is not None
            self.cells[row.seq.slot] = row.seq.num_computed + row.count
        return [row.seq.num_computed + row.count for row in rows if row.is_last]

    def release(self, seq: Sequence) -> None:
        assert seq.slot is not None
        self.cells.pop(seq.slot, None)

    def retire(self, seq: Sequence) -> None:
        self.retired.append(seq.request_id)


def engine_of(backend: PositionBackend, eog: frozenset[int] = frozenset()) -> Engine:
    limits = Limits(num_slots=SLOTS, num_cells=CELLS, step_tokens=BUDGET, shared_prefill_tokens=5)
    return Engine(backend, Scheduler(limits), pieces=PIECES, eog=eog)


def sequence(request_id: int, prompt: int, new: int) -> Sequence:
    return Sequence(request_id=request_id, tokens=[0] * prompt, max_tokens=prompt + new)


def drain(engine: Engine, most_steps: int = 5000) -> list[Output]:
    outputs: list[Output] = []
    for _ in range(most_steps):
        if not engine.has_work:
            return outputs
        outputs += engine.step()
    raise AssertionError("the engine does not come to an end")


lengths = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 20)), min_size=1, max_size=12)


@given(lengths)
def test_any_mix_of_requests_generates_each_position_once(mix: list[tuple[int, int]]) -> None:
    backend = PositionBackend()
    engine = engine_of(backend)
    sequences = [sequence(number, prompt, new) for number, (prompt, new) in enumerate(mix)]
    for seq in sequences:
        engine.submit(seq)

    outputs = drain(engine)

    for seq, (prompt, new) in zip(sequences, mix, strict=True):
        assert seq.tokens[prompt:] == list(range(prompt, prompt + new))
        assert seq.finish is FinishReason.LENGTH
    assert sum(output.finish is not None for output in outputs) == len(mix)
    assert all(0 < tokens <= BUDGET for tokens in backend.step_tokens)
    assert backend.cells == {}
    assert sorted(backend.retired) == list(range(len(mix)))


@settings(max_examples=200)
@given(lengths, st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=8))
def test_cancels_at_any_time_end_each_request_exactly_once(
    mix: list[tuple[int, int]], cancels: list[tuple[int, int]]
) -> None:
    backend = PositionBackend()
    engine = engine_of(backend)
    for number, (prompt, new) in enumerate(mix):
        engine.submit(sequence(number, prompt, new))

    ends: list[int] = []
    for step in range(5000):
        for when, request_id in cancels:
            if when == step and (output := engine.cancel(request_id)) is not None:
                assert output.finish is FinishReason.CANCELLED
                ends.append(request_id)
        if not engine.has_work:
            break
        ends += [output.seq.request_id for output in engine.step() if output.finish]

    assert sorted(ends) == list(range(len(mix)))
    assert backend.cells == {}


def test_decoding_sequences_go_on_while_a_long_prompt_is_computed() -> None:
    backend = PositionBackend()
    engine = engine_of(backend)
    talker = sequence(1, 2, 30)
    engine.submit(talker)
    engine.step()
    engine.submit(sequence(2, 40, 1))

    generated = []
    for _ in range(6):
        engine.step()
        generated.append(talker.num_generated)

    assert generated == [2, 3, 4, 5, 6, 7]
    assert max(backend.step_tokens[1:]) <= 1 + 5


def test_a_full_cache_preempts_the_youngest_and_nobody_gets_an_error() -> None:
    backend = PositionBackend()
    engine = engine_of(backend)
    old, young = sequence(1, 20, 30), sequence(2, 20, 30)
    engine.submit(old)
    engine.submit(young)

    outputs = drain(engine)

    assert [o.seq.request_id for o in outputs if o.finish] == [1, 2]
    assert young.tokens[20:] == list(range(20, 50))


def test_an_end_token_stops_and_is_not_text() -> None:
    engine = engine_of(PositionBackend(), eog=frozenset({7}))
    engine.submit(sequence(1, 5, 20))

    outputs = drain(engine)

    assert "".join(output.text for output in outputs) == "xx"
    assert outputs[-1].finish is FinishReason.STOP


def test_first_come_is_first_served() -> None:
    engine = engine_of(PositionBackend())
    for number in range(9):
        engine.submit(sequence(number, 5, 3))

    finished = [output.seq.request_id for output in drain(engine) if output.finish]

    assert finished == sorted(finished)
