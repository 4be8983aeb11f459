"""Suite of a benchmark: which figures are measured, in which order, how often.

Rounds go over all figures, so that a slow minute of the machine spoils no figure alone. Two servers
are measured in turn, the first one first in every second round.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from localrun.benchmarks.comparison import PairedRow
from localrun.benchmarks.meter import SHORT_PROMPT
from localrun.benchmarks.report import BYTES, RATE, SECONDS, Row
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from localrun.benchmarks.meter import Meter

FIRST_TOKEN_PROMPT = 512  # tokens
SHORT_WORDS = 16  # of a prompt before what is generated, in a comparison
TOKENS_PER_WORD = 1.5  # at most, of the words that prompts are made of
FIRST_TOKEN = "first token"  # noqa: S105 - of an answer
COLD_ROUNDS = 3  # a load of a large model takes long


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteOptions:
    """What is measured."""

    prompts: tuple[int, ...] = (128, 512, 2048)  # tokens
    num_generated: int = 128
    parallel: tuple[int, ...] = (1, 4, 16)
    rounds: int = 5
    image: str | None = None  # a data URL


@dataclass(slots=True)
class Figure:
    """One figure and its samples so far."""

    name: str
    unit: str
    measure: Callable[[], float]
    most: int | None = None  # rounds
    settles: bool = False  # before each measurement
    samples: list[float] = field(default_factory=list)


class ModelControl:
    """What a suite may do with the model besides asking it; the functions block."""

    def __init__(
        self,
        *,
        unload: Callable[[], None],
        load_s: Callable[[], float],
        memory_bytes: Callable[[], int],
        num_ctx: int,
    ) -> None:
        self.unload = unload
        self.load_s = load_s
        self.memory_bytes = memory_bytes
        self.num_ctx = num_ctx


def run_suite(
    meter: Meter,
    control: ModelControl,
    options: SuiteOptions,
    on_sample: Callable[[str, int], None],
) -> list[Row]:
    """Return the rows of one model; ``on_sample`` gets the name of each figure and the round.

    Raises:
        UsageError: the answers do not fit the context.
        LocalrunError: a request fails.
    """
    _check_fits(options.num_generated, control.num_ctx)
    figures = _figures(meter, control, options)
    for number in range(options.rounds + 1):  # the first one warms up
        for figure in figures:
            if figure.most is not None and number > figure.most:
                continue
            on_sample(figure.name, number)
            if figure.settles:
                meter.settle()
            sample = figure.measure()
            if number:
                figure.samples.append(sample)
    return [
        Row(model=meter.model, name=each.name, unit=each.unit, samples=tuple(each.samples))
        for each in figures
    ]


def run_paired(
    first: Meter,
    second: Meter,
    options: SuiteOptions,
    on_sample: Callable[[str, int], None],
    *,
    num_ctx: int = 0,
) -> list[PairedRow]:
    """Return figures of two servers, all measured from here, pair by pair.

    Both get the same prompts, of words; those that may exceed the context ``num_ctx`` are left out.

    Raises:
        LocalrunError: a request fails.
    """
    rows: dict[str, tuple[list[float], list[float]]] = {}
    lengths = [n for n in options.prompts if not num_ctx or n * TOKENS_PER_WORD < num_ctx]
    for number in range(options.rounds + 1):  # the first one warms up
        texts = {length: first.text_prompt(length) for length in lengths}
        short = [first.text_prompt(SHORT_WORDS) for _ in range(max(options.parallel))]
        for index in (0, 1) if number % 2 else (1, 0):
            meter = (first, second)[index]
            on_sample(meter.endpoint.name, number)
            for name, sample in _paired_figures(meter, options, texts, short).items():
                if number:
                    rows.setdefault(name, ([], []))[index].append(sample)
    return [
        PairedRow(
            name=name,
            unit=SECONDS if name.startswith(FIRST_TOKEN) else RATE,
            first=tuple(both[0]),
            second=tuple(both[1]),
            is_rate=not name.startswith(FIRST_TOKEN),
        )
        for name, both in rows.items()
    ]


def _paired_figures(
    meter: Meter, options: SuiteOptions, texts: Mapping[int, str], short: Sequence[str]
) -> dict[str, float]:
    """Return the figures of one server in one round."""
    figures = {}
    for length, text in texts.items():
        meter.settle()
        streamed = meter.streamed_text(text, 2)
        figures[f"{FIRST_TOKEN}, {length} words"] = streamed.first_s
        figures[f"prompt, {length} words"] = streamed.prompt_rate
    size = options.num_generated
    meter.settle()
    figures[f"tg{size}"] = meter.streamed_text(short[0], size).generation_rate
    for count in options.parallel:
        if count > 1:
            meter.settle()
            figures[f"tg{size} x{count}"] = meter.joint_text_rate(short[:count], size)
    return figures


def _figures(meter: Meter, control: ModelControl, options: SuiteOptions) -> list[Figure]:
    known: list[list[int]] = []

    def cold() -> float:
        control.unload()
        return meter.first_token_s(None, first_prompt)

    def warm() -> float:
        known[:] = [meter.new_prompt(first_prompt)]
        return meter.first_token_s(known[0], first_prompt)

    def load() -> float:
        control.unload()
        return control.load_s()

    first_prompt = _fitting([FIRST_TOKEN_PROMPT], control.num_ctx, 2)[-1]
    prompts = _fitting(options.prompts, control.num_ctx, 1)
    size, num = options.num_generated, options.parallel
    return [
        Figure("load", SECONDS, load, most=COLD_ROUNDS),
        Figure("first token, cold", SECONDS, cold, most=COLD_ROUNDS),
        Figure("first token, warm", SECONDS, warm, settles=True),
        Figure("first token, cached", SECONDS, lambda: meter.first_token_s(known[0], 0)),
        *(
            Figure(f"pp{length}", RATE, partial(meter.prompt_rate, length), settles=True)
            for length in prompts
        ),
        Figure(f"tg{size}", RATE, lambda: meter.generation_rate(size), settles=True),
        *(
            Figure(f"tg{size} x{count}", RATE, partial(meter.joint_rate, count, size), settles=True)
            for count in num
            if count > 1
        ),
        *_image_figures(meter, options),
        Figure("memory", BYTES, lambda: float(control.memory_bytes())),
    ]


def _check_fits(num_generated: int, num_ctx: int) -> None:
    """Raise `UsageError` if an answer would end before it has so many tokens."""
    most = num_ctx - SHORT_PROMPT
    if num_ctx and num_generated > most:
        raise UsageError(
            f"--gen {num_generated} does not fit the context of {num_ctx} tokens",
            hint=f"--gen {max(most, 2)}, or a larger --ctx",
        )


def _image_figures(meter: Meter, options: SuiteOptions) -> list[Figure]:
    image = options.image
    if image is None:
        return []
    return [Figure("first token, picture", SECONDS, lambda: meter.image_first_token_s(image))]


def _fitting(lengths: Sequence[int], num_ctx: int, num_generated: int) -> list[int]:
    """Return lengths of prompts that fit the context, the largest that fits in place of others."""
    most = max(1, num_ctx - num_generated - 1) if num_ctx else max(lengths)
    return sorted({min(length, most) for length in lengths})
