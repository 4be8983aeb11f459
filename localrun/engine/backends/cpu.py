"""Backend of the CPU: the variant that fits the processor, in builds that have several.

    llama_cpp/lib/libggml-cpu-haswell.so          AVX2, FMA, F16C
                  libggml-cpu-sapphirerapids.so   AVX-512 and AMX
                  ...
                  libggml-cpu-armv8.2_2.so        on ARM: dot products, FP16 arithmetic

Each variant has a score, which is 0 if the processor lacks an instruction set that it needs. A
build for one processor has none of these files: its backend is linked or is libggml-cpu.so.
"""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

from localrun.engine.llama import ggml
from localrun.errors import BackendError

VARIANT = "LOCALRUN_CPU_VARIANT"
FILE = re.compile(r"(?:lib)?ggml-cpu-(.+)\.(?:so|dll|dylib)")
PLAIN = frozenset({"libggml-cpu", "ggml-cpu"})  # of a build for one processor
# by falling score, so that the first that the processor can run is the best: loading all of them
# takes 17 ms in every process. Variants of other names have to be loaded and compared.
BY_SCORE = (
    "sapphirerapids", "zen4", "cooperlake", "icelake", "cascadelake", "cannonlake", "skylakex",
    "alderlake", "haswell", "piledriver", "ivybridge", "sandybridge", "sse42", "x64",
    "armv9.2_2", "armv9.2_1", "armv8.6_2", "armv8.6_1", "armv8.2_3", "armv8.2_2", "armv8.2_1",
    "armv8.0_1",
)  # fmt: skip


class _SymbolInfo(ctypes.Structure):
    """``Dl_info`` of the dynamic linker."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def load_cpu(wanted: str = "") -> None:
    """Load the backend of the CPU from llama.cpp's folder, unless llama.cpp is linked with it.

    ``wanted`` is the name of a variant, or empty for the best.

    Raises:
        BackendError: there is none, or the processor cannot run the wanted variant.
    """
    if "cpu" in ggml.backend_names():
        if wanted and wanted != loaded_variant():
            raise BackendError(
                f"{VARIANT} is {wanted}, and this build of llama.cpp has no such variant",
                hint=f"unset {VARIANT}",
            )
        return
    folder = ggml.library_folder()
    files = list(folder.iterdir())
    variants = {match[1]: file for file in files if (match := FILE.fullmatch(file.name))}
    plain = (file for file in files if file.stem in PLAIN)
    file = _wanted(wanted, variants) if wanted else _best(variants) or next(plain, None)
    if file is not None:
        ggml.load_module(file)
    if "cpu" not in ggml.backend_names():
        raise BackendError(
            f"llama.cpp has no backend in {folder}: the package llama-cpp-python is damaged",
            hint=f"{sys.executable} -m pip install --force-reinstall --no-deps llama-cpp-python",
        )


def loaded_variant() -> str | None:
    """Return the name of the loaded variant; None if the build has none, and on Windows."""
    info = _SymbolInfo()
    if sys.platform != "win32" and (handle := ggml.backend_handle("CPU")):
        ctypes.CDLL(None).dladdr(ctypes.c_void_p(handle), ctypes.byref(info))
    match = FILE.fullmatch(Path((info.file or b"").decode(errors="replace")).name)
    return match[1] if match else None


def _wanted(wanted: str, variants: dict[str, Path]) -> Path:
    if wanted in variants and _score(variants[wanted]):
        return variants[wanted]
    usable = sorted(name for name, file in variants.items() if _score(file))
    known = wanted in variants
    problem = "this processor cannot run it" if known else "llama.cpp has no such variant"
    raise BackendError(
        f"{VARIANT} is {wanted}, and {problem}",
        hint=f"{VARIANT}=... with one of: {', '.join(usable)}" if usable else f"unset {VARIANT}",
    )


def _best(variants: dict[str, Path]) -> Path | None:
    """Return the file of the variant with the highest score, or None if all are 0."""
    others = [file for name, file in variants.items() if name not in BY_SCORE]
    if not others:
        known = (variants[name] for name in BY_SCORE if name in variants)
        return next((file for file in known if _score(file)), None)
    best = max(variants.values(), key=_score)
    return best if _score(best) else None


def _score(file: Path) -> int:
    """Return how well a variant fits this processor; 0 if not at all."""
    try:
        return int(ctypes.CDLL(str(file)).ggml_backend_score())
    except (OSError, AttributeError):
        return 0
