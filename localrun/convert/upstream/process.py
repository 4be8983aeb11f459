"""Conversion of a folder by llama.cpp's own converter, in a process without network.

The converter sees a folder of links to the model's data only: no Python files, which it would
run for some models, and no pickle files. Its progress is the size of its output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.convert import folder as folders
from localrun.convert.upstream import child as child_program
from localrun.errors import BackendError, NotFoundError, UsageError
from localrun.system.processes import kill_group, spawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.convert.upstream.component import Component

DATA_SUFFIXES = (".json", ".safetensors", ".model", ".txt", ".jinja", ".tiktoken")
INNER_FOLDERS = ("1_Pooling", "2_Dense", "3_Dense")  # of sentence-transformers
MAX_FILES = 5000
STALL_S = 900.0  # without a byte of output
SLOWEST_BYTES_PER_S = 2_000_000
STARTUP_S = 600.0
POLL_S = 0.2
LEAST_MEMORY = 4 << 30  # torch alone takes 1 GB
HEADROOM = 0.8  # of the memory that is free
OUTPUT_FACTOR = 5  # FP8 or 4-bit weights become F16
OUTPUT_EXTRA = 1 << 30
PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "SYSTEMROOT", "LD_LIBRARY_PATH")


def convert_upstream(
    component: Component,
    folder: Path,
    path: Path,
    *,
    projector: bool = False,
    memory_bytes: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the model of ``folder``, or its projector, as the GGUF file ``path``.

    ``memory_bytes`` is the free memory of this machine, of which a part may be used.

    Raises:
        UsageError: the converter refuses the folder; the message has its reason.
        NotFoundError: the folder has no safetensors.
        IntegrityError: a link leads out of the folder.
        BackendError: the converter crashed, or stopped making progress.
    """
    with tempfile.TemporaryDirectory(prefix="localrun-convert-") as scratch:
        staged = Path(scratch, "model")
        size = _stage(folder, staged)
        partial = path.with_name(f"{path.name}.partial")
        bounds = [
            str(max(LEAST_MEMORY, int(memory_bytes * HEADROOM))),
            str(size * OUTPUT_FACTOR + OUTPUT_EXTRA),
        ]
        options = ["--model-name", folder.resolve().name, *(["--mmproj"] if projector else [])]
        program = [sys.executable, "-P", "-E", str(child_program.__file__)]
        command = [*program, str(component.path), str(staged), str(partial), *bounds, *options]
        try:
            reason = _Run(command, partial, size, on_progress, Path(scratch)).reason()
            if reason:
                raise UsageError(
                    f"llama.cpp's converter cannot convert {folder}: {reason}",
                    hint="look for the same model as GGUF",
                )
            if not partial.is_file():
                raise BackendError(f"llama.cpp's converter wrote nothing for {folder}")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


class _Run:
    """One run of the child."""

    def __init__(
        self,
        command: list[str],
        output: Path,
        size: int,
        on_progress: Callable[[int, int], None] | None,
        scratch: Path,
    ) -> None:
        self._scratch = str(scratch)
        self._command = command
        self._output = output
        self._size = size
        self._on_progress = on_progress

    def reason(self) -> str:
        """Run the child to its end; return the reason of its failure, an empty one for success."""
        environ = {name: os.environ[name] for name in PASSED if name in os.environ}
        environ |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self._scratch)
        with tempfile.TemporaryFile() as stderr:
            child = spawn(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr.fileno(),
                environ={**environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )
            replies: list[bytes] = []
            reader = threading.Thread(target=_read_replies, args=(child, replies), daemon=True)
            with child:
                reader.start()
                try:
                    self._watch(child)
                finally:
                    kill_group(child)
                    reader.join()  # ends with the child, which holds the other end
            reply = _parsed(replies)
            if reply.get("done"):
                return ""
            stderr.seek(0, os.SEEK_END)
            stderr.seek(max(0, stderr.tell() - (1 << 14)))
            log = stderr.read().decode(errors="replace")
        if "failed" not in reply:
            raise BackendError(
                f"llama.cpp's converter crashed with status {child.returncode}: {_last(log)}",
                hint="if memory is short, close other programs and try again",
            )
        failed = str(reply["failed"])
        return _last(log) if failed == "it gives up" and log else failed

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        """Report progress until the child ends.

        Raises:
            BackendError: it makes no progress, or takes far too long.
        """
        began = changed = time.monotonic()
        before = 0
        while child.poll() is None:
            try:
                child.wait(timeout=POLL_S)
            except subprocess.TimeoutExpired:
                now, done = time.monotonic(), _size_of(self._output)
                if done != before:
                    before, changed = done, now
                if self._on_progress is not None:  # it may raise, to end a cancelled job
                    self._on_progress(min(done, self._size), self._size)
                limit = STARTUP_S + self._size / SLOWEST_BYTES_PER_S
                if now - changed > STALL_S or now - began > limit:
                    raise BackendError(
                        f"llama.cpp's converter was stopped after {now - began:.0f} s "
                        "without result"
                    ) from None
        if self._on_progress is not None:
            self._on_progress(self._size, self._size)


def _stage(folder: Path, staged: Path) -> int:
    """Link the data files of a model into a new folder; return the size of its weights."""
    size = _link(folder, staged)
    if not size:
        raise NotFoundError(f"{folder} has no safetensors", hint="pickle files are not read")
    for name in INNER_FOLDERS:
        inner = folder / name
        if inner.is_dir() and not inner.is_symlink():
            _link(inner, staged / name)
    return size


def _link(folder: Path, staged: Path) -> int:
    staged.mkdir()
    size = 0
    names = sorted(entry.name for entry in os.scandir(folder))
    if len(names) > MAX_FILES:
        raise UsageError(f"{folder} has more than {MAX_FILES:,} files")
    for name in names:
        if name.startswith(".") or not name.endswith(DATA_SUFFIXES) or (folder / name).is_dir():
            continue
        target = folders.find(folder, name)
        if target is not None:
            (staged / name).symlink_to(target)
            size += target.stat().st_size if name.endswith(".safetensors") else 0
    return size


def _read_replies(child: subprocess.Popen[bytes], replies: list[bytes]) -> None:
    for line in child.stdout or ():
        replies[:] = [line[: 1 << 12]]  # the last one counts


def _parsed(replies: list[bytes]) -> dict[str, object]:
    try:
        reply = json.loads(replies[-1]) if replies else {}
    except ValueError:
        return {}
    return reply if isinstance(reply, dict) else {}


def _last(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "without a reason"


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
