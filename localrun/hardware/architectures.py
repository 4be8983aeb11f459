"""Architectures that the installed llama.cpp knows, by the names in its library.

llama.cpp compares ``general.architecture`` of a file with a table of names, and has no function
that returns them. Each name is a text in libllama with a zero byte behind it, so a name that is not
there is not known. The library is searched and never loaded: a few milliseconds for 5 MB.
"""

from __future__ import annotations

import importlib.util
import mmap
from functools import lru_cache
from pathlib import Path

LIBRARIES = ("lib/libllama.so", "lib/libllama.dylib", "lib/llama.dll", "bin/llama.dll")
LONGEST_NAME = 64  # characters; all are below 32
# those of most models, which every version that localrun works with knows: not searched for
COMMON = frozenset({"bert", "gemma2", "gemma3", "llama", "mistral3", "phi3", "qwen2", "qwen3"})


def unknown_architecture(architecture: str) -> str | None:
    """Return a sentence if llama.cpp does not know an architecture, else None."""
    if architecture == "unknown" or architecture in COMMON or is_known(architecture):
        return None
    shown = architecture[:LONGEST_NAME]
    return f"this version of llama.cpp does not know the architecture {shown!r}"


@lru_cache(maxsize=256)
def is_known(architecture: str) -> bool:
    """Return whether llama.cpp may know an architecture; True if its library is not found."""
    library = _library()
    if library is None:
        return True
    if not 0 < len(architecture) <= LONGEST_NAME or not architecture.isprintable():
        return False
    try:
        with (
            library.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return content.find(architecture.encode() + b"\0") >= 0
    except (OSError, ValueError):
        return True


@lru_cache(maxsize=1)
def _library() -> Path | None:
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    return next((folder / name for name in LIBRARIES if (folder / name).is_file()), None)
