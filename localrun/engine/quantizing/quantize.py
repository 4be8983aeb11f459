"""Quantization of a GGUF file by llama.cpp, in a child process.

llama.cpp cannot be cancelled while it quantizes, and aborts the process on some damaged files;
so a child does the work (quantize_child.py), and a crash or a Ctrl-C ends only that child. The
output is written beside the target:

    model.gguf.partial    until the child reports that it is done
    model.gguf            from then on, and complete

What llama.cpp would refuse only after it has begun, or would abort on, is refused before, from the
header of the source. This module does not import llama.cpp.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from localrun.disk import storage_error
from localrun.engine.llama.child_task import EngineTask, run_task
from localrun.engine.quantizing.choices import (
    NO_OPTIONS,
    TensorChoices,
    choose_types,
    next_larger,
    quantized_type,
)
from localrun.engine.quantizing.imatrix_file import fitting_entries, read_index
from localrun.engine.quantizing.kept import is_quantizable
from localrun.engine.quantizing.quantize_job import QuantizeJob
from localrun.errors import BackendError, IntegrityError, LocalrunError, StorageError, UsageError
from localrun.gguf.data import read_whole
from localrun.system.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from localrun.engine.quantizing.choices import QuantizeOptions
    from localrun.engine.quantizing.types import Quantization
    from localrun.gguf.header import Header

    Progress = Callable[[int, int], None]

FULL_BYTES = 1 << 20  # a disk with less free space counts as full


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """Result; ``num_fallbacks`` tensors got another type because of their shape."""

    size_bytes: int
    bits_per_weight: float
    num_fallbacks: int
    notes: tuple[str, ...] = ()  # lines for the user


def check_source(header: Header, options: QuantizeOptions, weights: str = "the weights") -> None:
    """Refuse weights that are quantized already, unless the options allow them.

    Raises:
        UsageError: they are quantized; the message calls them ``weights``.
    """
    before = quantized_type(header)
    if before is not None and not options.allows_quantized:
        raise UsageError(
            f"{weights} are {before} already; quantizing them again loses quality",
            hint="start from F32, F16 or BF16 weights, or add --requantize",
        )


def plan_quantization(
    header: Header, kind: Quantization, options: QuantizeOptions = NO_OPTIONS
) -> TensorChoices:
    """Return the types of single tensors; reads the index of an importance matrix, no values.

    Raises:
        UsageError: the source is quantized already, or an option does not fit.
        IntegrityError: the importance matrix is damaged, or belongs to another model.
        NotFoundError: there is no such importance matrix.
    """
    check_source(header, options)
    measured = None
    if options.imatrix is not None:
        sizes = imatrix_sizes(header)
        measured = frozenset(fitting_entries(read_index(options.imatrix), sizes))
    return choose_types(header, kind, options, measured)


def imatrix_sizes(header: Header) -> dict[str, tuple[int, ...]]:
    """Return the sizes of the tensors that an importance matrix may be for."""
    return {
        name: tensor.sizes
        for name, tensor in header.tensors.items()
        if is_quantizable(name, tensor, header.architecture)
    }


def quantize(  # noqa: PLR0913 - one parameter an option
    source: Path,
    target: Path,
    kind: Quantization,
    *,
    header: Header | None = None,
    options: QuantizeOptions = NO_OPTIONS,
    threads: int = 0,
    on_progress: Progress | None = None,
) -> Quantized:
    """Write ``source`` as ``target`` in another type; ``threads`` 0 means all cores.

    ``header`` is that of all shards of the source, if it has several. Afterwards ``target`` is
    complete, or does not exist.

    Raises:
        UsageError: the source is quantized already, or the options do not fit it.
        IntegrityError: the source or the importance matrix is damaged.
        StorageError: the disk is full or the folder is not writable.
        BackendError: llama.cpp refuses the file or crashes on it.
    """
    header = header or read_whole(source)
    choices = plan_quantization(header, kind, options)
    partial = target.with_name(f"{target.name}.partial")
    has_imatrix = options.imatrix is not None
    job = QuantizeJob(
        source=str(source.absolute()),
        output=str(partial.absolute()),
        file_type=kind.file_type,
        threads=threads,
        allows_quantized=options.allows_quantized,
        is_pure=options.is_pure,
        output_type=options.output_type,
        embedding_type=options.embedding_type,
        types=dict(choices.types),
        imatrix=str(options.imatrix.absolute()) if options.imatrix is not None else None,
        imatrix_sizes=imatrix_sizes(header) if has_imatrix else {},
    )

    def advance(message: Mapping[str, Any]) -> None:
        if on_progress is not None:
            on_progress(int(message["done"]), int(message["of"]))

    try:
        end = run_task(EngineTask.QUANTIZE, asdict(job), advance)
        if end.failure is not None:
            raise _translated(end.failure, source, kind, target)
        _publish(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return Quantized(
        size_bytes=target.stat().st_size,
        bits_per_weight=float(end.result["bits_per_weight"]),
        num_fallbacks=int(end.result["num_fallbacks"]),
        notes=choices.notes,
    )


def _translated(reason: str, source: Path, kind: Quantization, target: Path) -> LocalrunError:
    """Translate llama.cpp's reason to an error with a hint."""
    if "importance matrix for tensor" in reason:
        return UsageError(
            f"{kind.name} needs more than the importance matrix has: {reason}",
            hint=f"{next_larger(kind)} is the next larger type that needs none",
        )
    if "iostream" in reason or "basic_ios" in reason:
        return _not_written(target, "llama.cpp does not report the reason")
    return BackendError(f"{source} cannot be quantized: {reason}")


def _not_written(target: Path, detail: str) -> StorageError:
    """Return the error for a failed write, whose reason llama.cpp does not report.

    The partial file still exists, so free space is that at the time of the failure.
    """
    with contextlib.suppress(OSError):
        if shutil.disk_usage(target.parent).free < FULL_BYTES:
            return storage_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), target)
    return StorageError(f"{target} cannot be written; {detail}")


def _publish(partial: Path, target: Path) -> None:
    """Rename the output to its final name once its bytes are complete and on the disk.

    llama.cpp wrote the file, so its expected size is read from its header. After a failed write
    llama.cpp reports success if it is compiled with libc++: its stream throws for failbit alone,
    which libc++ does not set.
    """
    try:
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        read_whole(partial)
        replace_file(partial, target)
    except OSError as error:
        raise storage_error(error, target) from error
    except IntegrityError as error:
        raise _not_written(target, "llama.cpp left it incomplete") from error
