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
    from collections.abc import Callable, Sequence

    from localrun.benchmarks.meter import Meter

FIRST_TOKEN_PROMPT = 512  # tokens
WORDS_PER_ROW = 400  # of a text prompt in a comparison
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
) -> list[PairedRow]:
    """Return figures of two servers, all measured from here, pair by pair.

    Raises:
        LocalrunError: a request fails.
    """
    names = ("first token", "prompt", "generation")
    samples: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in names}
    for number in range(options.rounds + 1):
        order = (0, 1) if number % 2 else (1, 0)
        prompts = (first.text_prompt(WORDS_PER_ROW), first.text_prompt(WORDS_PER_ROW))
        for index in order:
            meter = (first, second)[index]
            on_sample(meter.endpoint.name, number)
            streamed = meter.streamed_text(prompts[0], options.num_generated)
            if number:
                samples["first token"][index].append(streamed.first_s)
                samples["prompt"][index].append(streamed.prompt_rate)
                samples["generation"][index].append(streamed.generation_rate)
    return [
        PairedRow(
            name=name,
            unit=SECONDS if name == "first token" else RATE,
            first=tuple(samples[name][0]),
            second=tuple(samples[name][1]),
            is_rate=name != "first token",
        )
        for name in names
    ]


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
        Figure("first token, warm", SECONDS, warm),
        Figure("first token, cached", SECONDS, lambda: meter.first_token_s(known[0], 0)),
        *(Figure(f"pp{length}", RATE, partial(meter.prompt_rate, length)) for length in prompts),
        Figure(f"tg{size}", RATE, lambda: meter.generation_rate(size)),
        *(
            Figure(f"tg{size} x{count}", RATE, partial(meter.joint_rate, count, size))
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
