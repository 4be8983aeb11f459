"""Child process that computes an importance matrix.

It saves its sums from time to time, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.engine.measuring.activations import ActivationSums
from localrun.engine.measuring.jobs import ImatrixJob, RunPlacement
from localrun.engine.measuring.model_run import ModelRun, start_backends
from localrun.engine.measuring.text_windows import chunked
from localrun.engine.quantizing.imatrix_file import read_index
from localrun.engine.quantizing.imatrix_values import read_sums, write_imatrix
from localrun.errors import BackendError, IntegrityError, LocalrunError, NotFoundError

if TYPE_CHECKING:
    from localrun.engine.llama.task_channel import TaskChannel

IDENTITY, DONE = "localrun.identity", "localrun.chunks_done"
SAVE_EVERY_S = 30.0
SAVE_SHARE = 20  # saving takes a twentieth of the time at most, however large the sums are


def run_imatrix(channel: TaskChannel) -> int:
    """Compute the matrix, and return the exit code; the partial file is then complete."""
    job = ImatrixJob(**channel.read_job())
    placement = RunPlacement.of(job.placement)
    try:
        native_log = start_backends(placement)
        sums = ActivationSums()
        run = ModelRun(
            [Path(shard) for shard in job.shards],
            native_log,
            num_ctx=job.chunk_size,
            threads=job.threads,
            placement=placement,
            on_tensor=sums.on_tensor,
        )
        num_chunks = _compute(run, sums, job, channel)
    except (LocalrunError, OSError) as error:
        return channel.fail_with(error)
    return channel.finish(num_chunks=num_chunks, num_tensors=len(sums.tensors))


def _compute(run: ModelRun, sums: ActivationSums, job: ImatrixJob, channel: TaskChannel) -> int:
    chunks = chunked(run.model, Path(job.text).read_bytes(), job.chunk_size, job.most_chunks)
    num_done = _restore(sums, job)
    if num_done > len(chunks):  # of a run that was to compute more
        sums.tensors.clear()
        num_done = 0
    channel.send(done=num_done, of=len(chunks), restored=num_done)
    next_save_s = time.monotonic() + SAVE_EVERY_S
    for number in range(num_done, len(chunks)):
        for _ in run.logits(chunks[number], 0):
            if sums.failure is not None:
                raise sums.failure
        channel.send(done=number + 1, of=len(chunks))
        begun_s = time.monotonic()
        if number + 1 < len(chunks) and begun_s >= next_save_s:
            _save(sums, job, number + 1)
            ended_s = time.monotonic()
            next_save_s = ended_s + max(SAVE_EVERY_S, SAVE_SHARE * (ended_s - begun_s))
    if not sums.tensors:
        raise BackendError("llama.cpp multiplies by no tensors of layers in this model")
    _save(sums, job, len(chunks))
    return len(chunks)


def _save(sums: ActivationSums, job: ImatrixJob, num_done: int) -> None:
    write_imatrix(
        Path(job.partial),
        sums.sums(),
        num_chunks=num_done,
        chunk_size=job.chunk_size,
        datasets=[job.dataset],
        further={IDENTITY: job.identity, DONE: num_done},
    )


def _restore(sums: ActivationSums, job: ImatrixJob) -> int:
    """Take the sums of an interrupted run of the same job; return its number of chunks."""
    path = Path(job.partial)
    try:
        index = read_index(path)
    except (IntegrityError, NotFoundError):
        return 0
    num_done = index.metadata.get(DONE)
    if index.metadata.get(IDENTITY) != job.identity or not isinstance(num_done, int):
        return 0
    with path.open("rb") as file:
        for name, entry in index.entries.items():
            sums.add_sums(name, *read_sums(file, entry))
    return num_done
