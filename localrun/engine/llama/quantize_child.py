"""Quantize child process: runs llama.cpp and reports JSON lines on stdout.

    {"done": 3, "of": 310}                               tensors done, tensors in all
    {"bits_per_weight": 4.89, "num_fallbacks": 0}        last line: success
    {"failed": "requantizing from type q8_0 is ..."}     last line: llama.cpp's reason

The child exits with its parent, which holds the other end of its stdin.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import llama_cpp
from llama_cpp import llama_cpp as api

from localrun.engine.llama.library import start
from localrun.errors import BackendError
from localrun.hardware.cpu import usable_threads
from localrun.program import private_stdout

if TYPE_CHECKING:
    from typing import BinaryIO, TextIO

MAX_BUFFER_BYTES = 1024**3  # of rows in memory; llama.cpp's own default is 8 GiB
TENSOR = re.compile(r"\[ *(\d+)/ *(\d+)\] ")
TOTAL = re.compile(r"quant size .*\(([\d.]+) BPW\)")
FALLBACKS = re.compile(r"(\d+) of \d+ tensor\(s\) required fallback")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeJob:
    """Arguments of one run."""

    source: str
    output: str
    file_type: int
    requantize: bool
    threads: int


def run_quantizer(job: QuantizeJob) -> int:
    """Quantize, and return the exit code."""
    is_done = threading.Event()
    threading.Thread(
        target=_exit_with_parent, args=(sys.stdin.buffer, job.output, is_done), daemon=True
    ).start()
    report = _Report(private_stdout())
    native_log = start(report.read_line, backends=())
    params = api.llama_model_quantize_default_params()
    params.ftype = job.file_type
    params.nthread = job.threads or usable_threads()
    params.allow_requantize = job.requantize
    params.max_buf_size = MAX_BUFFER_BYTES
    status = llama_cpp.llama_model_quantize(
        os.fsencode(job.source), os.fsencode(job.output), ctypes.byref(params)
    )
    if status != 0:
        report.fail(native_log.last_complaint() or "llama.cpp gives no reason")
        return BackendError.exit_code
    is_done.set()
    report.finish()
    return 0


class _Report:
    """Messages to the parent, parsed from llama.cpp's log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._num_tensors = 0
        self._bits_per_weight = 0.0
        self._num_fallbacks = 0

    def read_line(self, line: str) -> None:
        if tensor := TENSOR.match(line):
            self._num_tensors = int(tensor[2])
            self._send(done=int(tensor[1]) - 1, of=self._num_tensors)
        elif total := TOTAL.search(line):
            self._bits_per_weight = float(total[1])
        elif fallbacks := FALLBACKS.search(line):
            self._num_fallbacks = int(fallbacks[1])

    def finish(self) -> None:
        self._send(done=self._num_tensors, of=self._num_tensors)
        self._send(bits_per_weight=self._bits_per_weight, num_fallbacks=self._num_fallbacks)

    def fail(self, complaint: str) -> None:
        self._send(failed=complaint.rpartition("failed to quantize: ")[2])

    def _send(self, **message: float | str) -> None:
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()


def _exit_with_parent(stdin: BinaryIO, output: str, is_done: threading.Event) -> None:
    """Wait for the end of stdin, then remove the partial output and exit at once.

    The output stays if it is complete: a worker of the warm process may still run after its parent
    was told of its exit, and has closed stdin.
    """
    stdin.read()
    if not is_done.is_set():
        Path(output).unlink(missing_ok=True)
    os._exit(BackendError.exit_code)
