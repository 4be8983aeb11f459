"""Sounds in containers that libsndfile does not read (m4a, webm, mp4), by the user's own ffmpeg.

Only if ``LOCALRUN_FFMPEG`` names the program. It gets the demuxer of the format that the first
bytes name, a private file that it cannot leave (no other protocol), and limits of time, memory,
output and errors. The file is needed because the index of an m4a may stand at its end.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from localrun.errors import UsageError

if TYPE_CHECKING:
    from typing import IO

    from localrun.media.deadline import Deadline

DEMUXERS = {"M4A": "mov", "MP4": "mov", "WebM": "matroska"}
SAMPLE_BYTES = 4
MAX_MEMORY_BYTES = 2 * 2**30
MAX_WRITTEN_BYTES = 2**20  # of errors: the samples go to a pipe
PIECE = 1 << 16
MAX_REASON = 300  # characters of what ffmpeg says
SETTING = "LOCALRUN_FFMPEG"


def decode_by_ffmpeg(
    data: bytes,
    form: str,
    program: str,
    deadline: Deadline,
    *,
    rate: int,
    max_samples: int,
) -> np.ndarray:
    """Return at most ``max_samples + 1`` mono samples at ``rate``, float32; blocks.

    Raises:
        UsageError: there is no such program, it cannot read the sound, or takes too long.
    """
    path = shutil.which(program)
    if path is None:
        raise UsageError(f"{SETTING} names {program}, which is not there", param=deadline.name)
    with tempfile.TemporaryDirectory(prefix="localrun-sound-") as folder:
        file = Path(folder, "sound")
        file.write_bytes(data)
        command = [
            path, "-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1",
            "-protocol_whitelist", "file", "-f", DEMUXERS[form], "-i", f"file:{file}",
            "-map", "0:a:0", "-vn", "-sn", "-dn", "-ac", "1", "-ar", str(rate),
            "-f", "f32le", "-protocol_whitelist", "pipe", "pipe:1",
        ]  # fmt: skip
        output = _output_of(command, deadline, (max_samples + 1) * SAMPLE_BYTES)
    return np.frombuffer(output[: len(output) // SAMPLE_BYTES * SAMPLE_BYTES], dtype="<f4")


def _output_of(command: list[str], deadline: Deadline, max_bytes: int) -> bytes:
    """Return up to ``max_bytes`` of what a program writes; it does not outlive the call.

    Raises:
        UsageError: it fails, or takes too long.
    """
    pipe = subprocess.PIPE
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(  # noqa: S603 - the user named the program
                command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=errors
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(
                f"{command[0]} cannot be started: {reason}", param=deadline.name
            ) from error
        _limit(process.pid)
        timer = threading.Timer(deadline.remaining_s, process.kill)
        timer.start()
        try:
            output = _read(process.stdout, max_bytes)
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        deadline.check()
        if len(output) < SAMPLE_BYTES:
            errors.seek(0)
            reason = _reason(errors.read(MAX_REASON).decode(errors="replace"))
            raise UsageError(
                f"{deadline.name} cannot be read by ffmpeg: {reason}", param=deadline.name
            )
        return output


def _read(stream: IO[bytes] | None, max_bytes: int) -> bytes:
    pieces, num_bytes = [], 0
    while stream is not None and num_bytes < max_bytes and (piece := stream.read(PIECE)):
        pieces.append(piece)
        num_bytes += len(piece)
    return b"".join(pieces)[:max_bytes]


def _reason(said: str) -> str:
    """Return the first line that ffmpeg wrote, without the part of it that wrote the line."""
    first = next(iter(said.strip().splitlines()), "it found no sound")
    return first.partition("] ")[2] if first.startswith("[") else first


def _limit(pid: int) -> None:
    """Limit the memory of a process and the files that it writes, where the system can (Linux)."""
    if sys.platform == "linux":
        import resource

        limits = {resource.RLIMIT_AS: MAX_MEMORY_BYTES, resource.RLIMIT_FSIZE: MAX_WRITTEN_BYTES}
        with contextlib.suppress(OSError):  # it has ended
            for kind, most in limits.items():
                resource.prlimit(pid, kind, (most, most))
