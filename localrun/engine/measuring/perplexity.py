"""Perplexity, divergence and speed of a model, measured by a child process.

This module does not import llama.cpp.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from localrun.engine.llama.child_task import EngineTask, run_task
from localrun.engine.measuring.jobs import ON_PROCESSOR, PerplexityJob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from localrun.engine.measuring.jobs import RunPlacement

    Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredText:
    """Text that models are measured on: ``most_chunks`` of ``chunk_size`` tokens, None: all."""

    path: Path
    chunk_size: int = 512
    most_chunks: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A figure and its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, pair: Sequence[float]) -> Measure:
        """Return the measure of a pair of the child."""
        return cls(value=float(pair[0]), error=float(pair[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Figures of one model; the divergence is that from the base, None of the base itself."""

    num_chunks: int
    num_tokens: int  # that are scored
    perplexity: Measure
    divergence: Measure | None  # nats
    divergence_99: float | None  # 99 of 100 positions have less
    same_top: Measure | None  # share of positions with the same likeliest token
    prompt_tokens_per_s: float
    answer_tokens_per_s: float
    devices: tuple[str, ...]  # that computed


def measure(  # noqa: PLR0913 - one parameter an option
    shards: Sequence[Path],
    text: MeasuredText,
    base: Path,
    *,
    writes_base: bool,
    most_base_bytes: int = 0,
    threads: int = 0,
    placement: RunPlacement = ON_PROCESSOR,
    on_progress: Progress | None = None,
) -> Measured:
    """Measure a model; ``base`` is written, with the model's probabilities, or compared with.

    A base that is written is complete afterwards, or does not exist.

    Raises:
        UsageError: the text is too short, the base would be too large, the model reads the text as
            other tokens than the base, or generates no text.
        LoadError: llama.cpp refuses the model.
        StorageError: the disk is full.
        BackendError: llama.cpp fails.
    """
    job = PerplexityJob(
        shards=[str(shard.absolute()) for shard in shards],
        text=str(text.path.absolute()),
        base=str(base.absolute()),
        writes_base=writes_base,
        most_base_bytes=most_base_bytes,
        chunk_size=text.chunk_size,
        most_chunks=text.most_chunks,
        threads=threads,
        placement=asdict(placement),
    )

    def advance(message: Mapping[str, Any]) -> None:
        if on_progress is not None:
            on_progress(int(message["done"]), int(message["of"]))

    is_whole = False
    try:
        result = run_task(EngineTask.PERPLEXITY, asdict(job), advance).checked()
        is_whole = True
    finally:
        if writes_base and not is_whole:
            base.unlink(missing_ok=True)
    has_base = "divergence" in result
    return Measured(
        num_chunks=int(result["num_chunks"]),
        num_tokens=int(result["num_tokens"]),
        perplexity=Measure.of(result["perplexity"]),
        divergence=Measure.of(result["divergence"]) if has_base else None,
        divergence_99=float(result["divergence_99"]) if has_base else None,
        same_top=Measure.of(result["same_top"]) if has_base else None,
        prompt_tokens_per_s=float(result["prompt_tokens_per_s"]),
        answer_tokens_per_s=float(result["answer_tokens_per_s"]),
        devices=tuple(result["devices"]),
    )
