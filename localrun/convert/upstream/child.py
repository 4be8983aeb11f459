"""Program that runs llama.cpp's converter on one folder; started by `process`, never imported.

    python -P -E child.py COMPONENT FOLDER OUTPUT MEMORY_BYTES OUTPUT_BYTES [OPTION...]

The folder is untrusted and the converter is not ours, so the process gives up what it does not
need before it imports either: the network, other programs, writing outside the output's folder,
unpickling, and memory and file sizes beyond the bounds. The last line of stdout is JSON:

    {"done": true}    or    {"failed": "KeyError: 'n_head'"}
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
from pathlib import Path

REFUSED = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto",
           "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty",
           "pickle.find_class", "shutil.rmtree")  # fmt: skip
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate",
           "os.chmod", "os.chown")  # fmt: skip
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
MAX_REASON = 500


def main() -> int:
    """Run the converter; return the exit status."""
    component, folder, output, memory_bytes, output_bytes, *options = sys.argv[1:]
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _limit(int(memory_bytes), int(output_bytes))
    _leave_network()
    os.environ.update(
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        TRANSFORMERS_NO_ADVISORY_WARNINGS="1",
        TOKENIZERS_PARALLELISM="false",
        NO_LOCAL_GGUF="1",  # the component has it
        HF_HOME=str(Path(output).parent),
    )
    sys.path.insert(0, component)
    failure = ""
    try:
        import sentencepiece
        import torch
        import transformers

        del sentencepiece, transformers
        torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
        _refuse_the_rest(os.path.realpath(str(Path(output).parent)))
        sys.argv = ["convert_hf_to_gguf.py", folder, "--outfile", output, *options]
        runpy.run_module("convert_hf_to_gguf", run_name="__main__")
    except SystemExit as end:
        failure = "" if not end.code else "it gives up"
    except MemoryError:
        failure = f"it needs more than {int(memory_bytes) / 1e9:.1f} GB of memory"
    except BaseException as error:  # noqa: BLE001 - reported to the parent
        failure = f"{type(error).__name__}: {error}"
    reply = {"failed": failure[:MAX_REASON]} if failure else {"done": True}
    stdout.write(json.dumps(reply) + "\n")
    stdout.flush()
    return 1 if failure else 0


def _limit(memory_bytes: int, output_bytes: int) -> None:
    """Bound private memory and the size of files; mapped files do not count."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (output_bytes, output_bytes))
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def _leave_network() -> None:
    """Enter a network namespace without any interface, where Linux lets users do so."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNET)


def _refuse_the_rest(writable: str) -> None:
    """Refuse events by Python's audit hooks, which cannot be removed again."""
    allowed = (writable + os.sep, os.path.realpath(tempfile.gettempdir()) + os.sep, os.devnull)

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event in REFUSED:
            raise PermissionError(f"{event} is not allowed while a model is converted")
        if event == "open":
            path, mode, flags = arguments
            is_writing = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if is_writing and isinstance(path, str | bytes):
                check(os.fsdecode(path), str(mode))
        elif event in CHANGES and isinstance(arguments[0], str | bytes):
            check(os.fsdecode(arguments[0]), event)

    def check(path: str, what: str) -> None:
        if not os.path.realpath(path).startswith(allowed):
            raise PermissionError(f"{path}: writing ({what}) is not allowed here")

    sys.addaudithook(refuse)


if __name__ == "__main__":
    sys.exit(main())
