"""Importance matrix of a model on a text, computed by a child process.

    NAME.partial   the sums so far, saved twice a minute; an interrupted run goes on from it
    NAME           the complete file

This module does not import llama.cpp.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from localrun.disk import remove_abandoned, storage_errors
from localrun.engine.llama.child_task import EngineTask, run_task
from localrun.engine.measuring.jobs import ON_PROCESSOR, ImatrixJob
from localrun.system.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from localrun.engine.measuring.jobs import RunPlacement

    Progress = Callable[[int, int], None]

CHUNK_SIZE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ImatrixMade:
    """An importance matrix that was computed."""

    num_chunks: int
    num_tensors: int
    num_restored: int  # chunks of an earlier run


def compute_imatrix(  # noqa: PLR0913 - one parameter an option
    shards: Sequence[Path],
    text: Path,
    output: Path,
    *,
    model_id: str,
    chunk_size: int = CHUNK_SIZE,
    most_chunks: int | None = None,
    threads: int = 0,
    placement: RunPlacement = ON_PROCESSOR,
    on_progress: Progress | None = None,
) -> ImatrixMade:
    """Compute the matrix of a model and write it to ``output``, replacing an existing file.

    ``model_id`` names the weights: a partial file of another model is not continued.

    Raises:
        UsageError: the text is too short, or the model generates none.
        LoadError: llama.cpp refuses the model.
        StorageError: a file cannot be read or written.
        BackendError: llama.cpp crashes or computes no numbers.
    """
    partial = output.with_name(f"{output.name}.partial")
    with storage_errors(text):
        digest = hashlib.sha256(text.read_bytes()).hexdigest()
    job = ImatrixJob(
        shards=[str(shard.absolute()) for shard in shards],
        text=str(text.absolute()),
        partial=str(partial.absolute()),
        dataset=text.name,
        identity=f"{model_id} {digest} {chunk_size}",
        chunk_size=chunk_size,
        most_chunks=most_chunks,
        threads=threads,
        placement=asdict(placement),
    )
    num_restored = 0

    def advance(message: Mapping[str, Any]) -> None:
        nonlocal num_restored
        num_restored = int(message.get("restored", num_restored))
        if on_progress is not None:
            on_progress(int(message["done"]), int(message["of"]))

    try:
        result = run_task(EngineTask.IMATRIX, asdict(job), advance).checked()
    finally:
        remove_abandoned(partial)
    with storage_errors(output):
        replace_file(partial, output)
    return ImatrixMade(
        num_chunks=int(result["num_chunks"]),
        num_tensors=int(result["num_tensors"]),
        num_restored=num_restored,
    )
