"""Quantization of a GGUF file by llama.cpp, in a child process.

llama.cpp cannot be cancelled while it quantizes, and aborts the process on some damaged files;
so a child does the work (quantize_child.py), and a crash or a Ctrl-C ends only that child. The
output is written beside the target:

    model.gguf.partial    until the child reports that it is done
    model.gguf            from then on, and complete

This module does not import llama.cpp, so that a help page may show the table of types.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.disk import storage_error
from localrun.errors import BackendError, IntegrityError, LocalrunError, StorageError, UsageError
from localrun.gguf.data import read_whole
from localrun.program import program_command
from localrun.system.files import replace_file
from localrun.system.processes import spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import IO

    Progress = Callable[[int, int], None]

# without it, llama.cpp's abort() spends seconds in a debugger
CHILD_ENVIRONMENT = {"GGML_NO_BACKTRACE": "1"}
FULL_BYTES = 1 << 20  # a disk with less free space counts as full


@dataclass(frozen=True, slots=True)
class Quantization:
    """A type of quantized weights; ``bits_per_weight`` is measured for Llama 3 8B."""

    name: str
    file_type: int
    bits_per_weight: float
    needs_imatrix: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """Result; ``num_fallbacks`` tensors got another type because of their shape."""

    size_bytes: int
    bits_per_weight: float
    num_fallbacks: int


TERNARY = "for models trained with ternary weights"
BINARY = "for models trained with one or two bits"
EXPERTS = "the experts only; for mixtures of experts"
# Measured with llama_model_quantize's dry run on a file of Llama 3 8B's shape, output.weight
# included. NVFP4 is not a target of that function. Sorted by size, which a test checks.
QUANTIZATIONS = (
    Quantization("F32", 0, 32.0),
    Quantization("F16", 1, 16.0),
    Quantization("BF16", 32, 16.0),
    Quantization("Q8_0", 7, 8.5),
    Quantization("MXFP4_MOE", 38, 8.5, note=EXPERTS),
    Quantization("Q6_K", 18, 6.56),
    Quantization("Q5_1", 9, 6.04),
    Quantization("Q5_K_M", 17, 5.7),
    Quantization("Q5_0", 8, 5.57),
    Quantization("Q5_K_S", 16, 5.57),
    Quantization("Q4_1", 3, 5.1),
    Quantization("Q4_K_M", 15, 4.89),
    Quantization("IQ4_NL", 25, 4.68),
    Quantization("Q4_K_S", 14, 4.67),
    Quantization("Q4_0", 2, 4.64),
    Quantization("IQ4_XS", 30, 4.46),
    Quantization("Q3_K_L", 13, 4.3),
    Quantization("Q3_K_M", 12, 4.0),
    Quantization("IQ3_M", 27, 3.76),
    Quantization("IQ3_S", 26, 3.66),
    Quantization("Q3_K_S", 11, 3.64),
    Quantization("IQ3_XS", 22, 3.5, needs_imatrix=True),
    Quantization("IQ3_XXS", 23, 3.37, needs_imatrix=True),
    Quantization("Q2_K", 10, 3.16),
    Quantization("Q2_K_S", 21, 2.97, needs_imatrix=True),
    Quantization("IQ2_M", 29, 2.93, needs_imatrix=True),
    Quantization("IQ2_S", 28, 2.74, needs_imatrix=True),
    Quantization("Q2_0", 41, 2.68, note=BINARY),
    Quantization("IQ2_XS", 20, 2.59, needs_imatrix=True),
    Quantization("TQ2_0", 37, 2.52, note=TERNARY),
    Quantization("IQ2_XXS", 19, 2.38, needs_imatrix=True),
    Quantization("TQ1_0", 36, 2.19, note=TERNARY),
    Quantization("IQ1_M", 31, 2.15, needs_imatrix=True),
    Quantization("IQ1_S", 24, 2.0, needs_imatrix=True),
    Quantization("Q1_0", 40, 1.48, note=BINARY),
)
ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}  # llama.cpp's own


def quantization(name: str) -> Quantization:
    """Find a type by its name, in any case.

    Raises:
        UsageError: no type has this name.
    """
    wanted = ALIASES.get(name.upper(), name.upper())
    for kind in QUANTIZATIONS:
        if kind.name == wanted:
            return kind
    names = " ".join(kind.name for kind in QUANTIZATIONS)
    raise UsageError(f"{name} is not a quantization", hint=f"one of: {names}")


def quantize(
    source: Path,
    target: Path,
    kind: Quantization,
    *,
    requantize: bool = False,
    threads: int = 0,
    on_progress: Progress | None = None,
) -> Quantized:
    """Write ``source`` as ``target`` in another type; ``threads`` 0 means all cores.

    Afterwards ``target`` is complete, or does not exist.

    Raises:
        UsageError: the source is quantized already, or the type needs an importance matrix.
        StorageError: the disk is full or the folder is not writable.
        BackendError: llama.cpp refuses the file or crashes on it.
    """
    partial = target.with_name(f"{target.name}.partial")
    arguments = [str(source.absolute()), str(partial.absolute()), str(kind.file_type)]
    options = [f"--threads={threads}", *(["--requantize"] if requantize else [])]
    try:
        reply = _run_child([*arguments, *options], on_progress)
        if "failed" in reply:
            raise _translated(reply["failed"], source, kind, target)
        _publish(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return Quantized(
        size_bytes=target.stat().st_size,
        bits_per_weight=float(reply["bits_per_weight"]),
        num_fallbacks=int(reply["num_fallbacks"]),
    )


def _run_child(arguments: list[str], on_progress: Progress | None) -> dict[str, str]:
    """Run the child and return its last message; the child never outlives this call.

    Its stdin is a pipe without a writer: if this process dies, the pipe closes and the child
    exits.
    """
    with tempfile.TemporaryFile() as stderr:
        child = spawn(
            [*program_command(), "quantizer", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr.fileno(),
            environ={**os.environ, **CHILD_ENVIRONMENT},
        )
        with child:
            try:
                reply = _last_message(child.stdout or (), on_progress)
                child.wait()  # with stdin open: closing it would make the child exit
            finally:
                child.kill()
        if not _is_last(reply):
            raise _crashed(child.returncode, stderr)
    return reply


def _last_message(lines: Iterable[bytes], on_progress: Progress | None) -> dict[str, str]:
    message: dict[str, str] = {}
    for line in lines:
        message = json.loads(line)
        if on_progress is not None and "of" in message:
            on_progress(int(message["done"]), int(message["of"]))
    return message


def _is_last(reply: dict[str, str]) -> bool:
    return "failed" in reply or "bits_per_weight" in reply


def _crashed(status: int, stderr: IO[bytes]) -> BackendError:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").split("\n")
    reason = next((line.strip() for line in reversed(lines) if line.strip()), f"status {status}")
    return BackendError(
        f"llama.cpp crashed while quantizing: {reason}",
        hint="the file may be damaged, or memory insufficient: --threads 1 needs the least",
    )


def _translated(reason: str, source: Path, kind: Quantization, target: Path) -> LocalrunError:
    """Translate llama.cpp's reason to an error with a hint."""
    if "imatrix" in reason or "importance matrix" in reason:
        return UsageError(
            f"{kind.name} needs an importance matrix for this model, which localrun cannot make",
            hint=f"{_next_larger(kind).name} is the next larger type that does not need it",
        )
    if "requantizing from type" in reason:
        return UsageError(
            f"{source} is already quantized; quantizing it again loses quality",
            hint="start from an F32, F16 or BF16 file, or add --requantize",
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


def _next_larger(kind: Quantization) -> Quantization:
    larger = QUANTIZATIONS[: QUANTIZATIONS.index(kind)]
    return next(kind for kind in reversed(larger) if not kind.needs_imatrix and not kind.note)


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
