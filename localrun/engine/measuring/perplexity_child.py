"""Child process that measures one model on a text: perplexity, divergence and speed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from localrun.engine.measuring.base_file import (
    check_head,
    file_bytes,
    read_rows,
    scored_positions,
    write_head,
    write_rows,
)
from localrun.engine.measuring.divergence import (
    Estimate,
    Samples,
    divergences,
    negative_log_likelihoods,
    normalizers,
    packed,
    perplexity,
    rows_at_once,
    same_top,
    unpacked,
)
from localrun.engine.measuring.jobs import PerplexityJob, RunPlacement
from localrun.engine.measuring.model_run import MAX_PIECE, ModelRun, start_backends
from localrun.engine.measuring.text_windows import chunked
from localrun.errors import LocalrunError, UsageError

if TYPE_CHECKING:
    from typing import BinaryIO

    from localrun.engine.llama.task_channel import TaskChannel

ANSWER_TOKENS = 32
MOST_SPEED_S = 10.0  # for each of both speeds
ROUNDS = 3
PERCENTILE = 0.99


def run_perplexity(channel: TaskChannel) -> int:
    """Measure, and return the exit code; a base that is written is then complete."""
    job = PerplexityJob(**channel.read_job())
    if job.writes_base:
        channel.on_abandon(lambda: Path(job.base).unlink(missing_ok=True))
    placement = RunPlacement.of(job.placement)
    try:
        run = ModelRun(
            [Path(shard) for shard in job.shards],
            start_backends(placement),
            num_ctx=job.chunk_size,
            threads=job.threads,
            placement=placement,
        )
        result = _measured(run, job, channel)
    except (LocalrunError, OSError) as error:
        return channel.fail_with(error)
    return channel.finish(**result)


def _measured(run: ModelRun, job: PerplexityJob, channel: TaskChannel) -> dict[str, Any]:
    chunks = chunked(run.model, Path(job.text).read_bytes(), job.chunk_size, job.most_chunks)
    base = Path(job.base)
    with base.open("wb" if job.writes_base else "rb") as file:
        scores: _Scores
        if job.writes_base:
            _check_size(run.num_vocab, chunks, job.most_base_bytes)
            write_head(file, chunks, run.num_vocab)
            scores = _WritingScores(file)
        else:
            check_head(file, chunks, run.num_vocab, base)
            scores = _ComparedScores(file, run.num_vocab)
        for number, chunk in enumerate(chunks):
            channel.send(done=number, of=len(chunks))
            _score(run, chunk, scores)
    channel.send(done=len(chunks), of=len(chunks))
    speeds = _speeds(run, chunks[0])
    return {"num_chunks": len(chunks), "devices": run.devices, **scores.result(), **speeds}


def _check_size(num_vocab: int, chunks: np.ndarray, most_bytes: int) -> None:
    num_bytes = file_bytes(num_vocab, *chunks.shape)
    if num_bytes > most_bytes:
        one = num_bytes // len(chunks) + 1
        raise UsageError(
            f"the probabilities of {len(chunks)} chunks take {num_bytes / 1e9:.1f} GB on the disk, "
            f"more than the {most_bytes / 1e9:.1f} GB that may be used",
            hint=f"--chunks {max(1, most_bytes // one)}",
        )


def _score(run: ModelRun, chunk: np.ndarray, scores: _Scores) -> None:
    """Score the second half of a chunk; the logits are those of the tokens before."""
    positions = scored_positions(len(chunk))
    position, step = positions.start, rows_at_once(run.num_vocab)
    for logits in run.logits(chunk, positions.start):
        usable = logits[: positions.stop - position]  # the last token has no next one
        for begin in range(0, len(usable), step):
            rows = usable[begin : begin + step]
            first = position + begin + 1
            scores.add(rows, chunk[first : first + len(rows)])
        position += len(logits)


class _Scores:
    """Negative log-likelihoods of the tokens of a text."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._likelihoods = Samples()

    def add(self, logits: np.ndarray, tokens: np.ndarray) -> None:
        subtracted = normalizers(logits)
        self._likelihoods.add(negative_log_likelihoods(logits, tokens, subtracted))
        self._add_rows(logits, subtracted)

    def result(self) -> dict[str, Any]:
        return {
            "num_tokens": int(self._likelihoods.all().size),
            "perplexity": _pair(perplexity(self._likelihoods)),
        }

    def _add_rows(self, logits: np.ndarray, subtracted: np.ndarray) -> None:
        raise NotImplementedError


class _WritingScores(_Scores):
    """Scores of a base, whose log-probabilities are written."""

    def _add_rows(self, logits: np.ndarray, subtracted: np.ndarray) -> None:
        write_rows(self._file, packed(logits, subtracted))


class _ComparedScores(_Scores):
    """Scores of a model that is compared with a base."""

    def __init__(self, file: BinaryIO, num_vocab: int) -> None:
        super().__init__(file)
        self._num_vocab = num_vocab
        self._divergences, self._same = Samples(), Samples()

    def result(self) -> dict[str, Any]:
        values = self._divergences.all()
        return {
            **super().result(),
            "divergence": _pair(self._divergences.estimate()),
            "divergence_99": float(np.quantile(values, PERCENTILE)),
            "same_top": _pair(self._same.estimate()),
        }

    def _add_rows(self, logits: np.ndarray, subtracted: np.ndarray) -> None:
        base = unpacked(read_rows(self._file, len(logits), self._num_vocab), self._num_vocab)
        self._divergences.add(divergences(logits, subtracted, base))
        self._same.add(same_top(logits, base))


def _pair(value: Estimate) -> list[float]:
    return [value.mean, value.error]


def _speeds(run: ModelRun, chunk: np.ndarray) -> dict[str, float]:
    """Return the tokens a second of a prompt and of an answer, the best of a few rounds."""
    prompt = chunk[:MAX_PIECE]
    prompt_s, answer_s = [], []
    begun = time.perf_counter()
    for _ in range(ROUNDS):
        run.clear()
        prompt_s.append(_seconds(run, prompt, 0))
        if time.perf_counter() - begun > MOST_SPEED_S:
            break
    num_answer = min(ANSWER_TOKENS, len(chunk) // 2)
    run.clear()
    run.read(chunk[:1], 0, outputs=1)
    begun = time.perf_counter()
    for position in range(1, num_answer):
        answer_s.append(_seconds(run, chunk[position : position + 1], position))
        if time.perf_counter() - begun > MOST_SPEED_S:
            break
    return {
        "prompt_tokens_per_s": len(prompt) / min(prompt_s),
        "answer_tokens_per_s": 1 / float(np.median(answer_s)),
    }


def _seconds(run: ModelRun, tokens: np.ndarray, start: int) -> float:
    """Return how long tokens take, with the logits of the last one."""
    begun = time.perf_counter()
    run.read(tokens, start, outputs=1)
    run.wait()
    return time.perf_counter() - begun
