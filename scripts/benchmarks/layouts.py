"""Processor time of a decoding step with unified KV cache cells, and as localrun chooses.

    unified    one context for all sequences
    chosen     the same, or a stream for each sequence, with values transposed or not, as the rule
               of localrun decides

Both engines hold the same sequences and take turns, step by step. Only one prompt is computed: each
sequence gets its cells, since only their number and place matter to the time. The cells of a
sequence stand together, as after a prompt; those of generated tokens do not, in unified cells.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.models import NAMES, ensure_model
from localrun.engine.context import LlamaContext
from localrun.engine.engine import Engine
from localrun.engine.llama.library import start
from localrun.engine.llama.model import load_model
from localrun.engine.params import SamplingParams
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.sequence import Sequence

if TYPE_CHECKING:
    from localrun.engine.llama.model import Model

SLOTS, CELLS, CONTEXT = 16, 40_960, 4096
SETTLING_STEPS = 64  # in which the layout is chosen
GREEDY = SamplingParams(temperature=0)
FIRST_TOKEN, LAST_TOKEN = 300, 900  # guide has no more


@dataclass(frozen=True, slots=True)
class Case:
    """Sequences of one row of the table."""

    name: str
    count: int
    shared: int  # tokens
    own: int


CASES = (
    Case("1 x 80", 1, 0, 80),
    Case("1 x 800", 1, 0, 800),
    Case("1 x 3,000", 1, 0, 3000),
    Case("4 x 80", 4, 0, 80),
    Case("16 x 80", 16, 0, 80),
    Case("4 x 1,000", 4, 0, 1000),
    Case("16 x 1,000", 16, 0, 1000),
    Case("16 sharing 1,000, 50 own", 16, 1000, 50),
)


class Contender:
    """An engine whose steps are timed."""

    def __init__(self, model: Model, *, may_stream: bool, num_threads: int) -> None:
        limits = SchedulerLimits(
            num_slots=SLOTS, num_cells=CELLS, stream_cells=CONTEXT if may_stream else 0
        )
        self._context = LlamaContext(model, limits, num_threads=num_threads)
        self.cache = self._context.open_cache()
        self._engine = Engine(
            self._context, Scheduler(limits, self.cache), pieces=model.pieces, eog=frozenset()
        )

    def begin(self, case: Case, data: bytes, steps: int) -> None:
        """Run the sequences of a case until all of them decode and the layout is chosen."""
        draw = np.random.default_rng(1)
        shared = draw.integers(FIRST_TOKEN, LAST_TOKEN, case.shared).tolist()
        sequences = []
        for number in range(case.count):
            own = draw.integers(FIRST_TOKEN, LAST_TOKEN, case.own).tolist()
            tokens = [*shared, *own]
            self.cache.import_run(tokens, 0, data)
            sequences.append(
                Sequence(
                    request_id=number,
                    tokens=[*tokens, FIRST_TOKEN],
                    max_tokens=len(tokens) + SETTLING_STEPS + steps + 100,
                    sampling=GREEDY,
                )
            )
        for seq in sequences:
            self._engine.submit(seq)
        while not all(seq.num_generated >= SETTLING_STEPS for seq in sequences):
            self._engine.step()

    def prompt_data(self, length: int) -> bytes:
        """Return the cells of a computed prompt."""
        tokens = np.random.default_rng(2).integers(FIRST_TOKEN, LAST_TOKEN, length).tolist()
        self._engine.submit(Sequence(request_id=99, tokens=[*tokens, 1], max_tokens=length + 2))
        while self._engine.has_work:
            self._engine.step()
        data = self.cache.export_run(tokens, 0)
        self.cache.clear()
        return data or b""

    def step(self) -> float:
        """Return the milliseconds of processor time of a step."""
        begun = time.process_time()
        self._engine.step()
        return 1e3 * (time.process_time() - begun)

    def end(self) -> None:
        """Cancel all sequences and forget them."""
        for number in range(SLOTS):
            self._engine.cancel(number)
        while self.cache.compact():
            pass
        self.cache.clear()

    def close(self) -> None:
        """Free the context."""
        self._context.close()


def main(arguments: list[str]) -> int:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(prog="scripts/bench layouts", description=__doc__)
    parser.add_argument("--models", default="guide,0.6b", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    native_log = start()
    for name in chosen.models.split(","):
        model = load_model(
            [ensure_model(name)],
            native_log=native_log,
            num_gpu_layers=0,
            on_progress=lambda _: None,
        )
        print(f"\n{name}: {'':20}{'unified':>9}{'chosen':>9}{'ratio':>7}  layout, ms a step")
        _bench(model, chosen.steps, chosen.threads)
        model.close()
    return 0


def _bench(model: Model, steps: int, num_threads: int) -> None:
    pair = [
        Contender(model, may_stream=may_stream, num_threads=num_threads)
        for may_stream in (False, True)
    ]
    for case in CASES:
        data = pair[0].prompt_data(case.shared + case.own)
        for contender in pair:
            contender.begin(case, data, steps)
        times = [[contender.step() for contender in pair] for _ in range(steps)]
        unified, chosen = (statistics.median(column) for column in zip(*times, strict=True))
        layout = pair[1].cache.layout
        print(
            f"{case.name:26}{unified:9.1f}{chosen:9.1f}{unified / chosen:7.2f}  {layout}",
            flush=True,
        )
        for contender in pair:
            contender.end()
    for contender in pair:
        contender.close()
