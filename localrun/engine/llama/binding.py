"""The low-level binding of llama-cpp-python without its high-level classes.

`import llama_cpp` also imports the classes `Llama`, `LlamaCache` and others, which localrun does
not use: 5 MB in each process and 0.07 s, for diskcache, sqlite3 and multiprocessing. This module
puts a package in its place that has only the names of ``llama_cpp.llama_cpp``.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

PACKAGE = "llama_cpp"
VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)


def load_binding() -> None:
    """Import the binding, unless llama_cpp is imported already.

    Raises:
        ImportError: llama-cpp-python is not installed.
        OSError: a library of llama.cpp is missing.
        RuntimeError: the same.
    """
    if PACKAGE in sys.modules:
        return
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ImportError(f"No module named {PACKAGE!r}", name=PACKAGE)
    found = VERSION.search(Path(spec.origin).read_text(encoding="utf-8"))
    package = ModuleType(PACKAGE)
    package.__spec__, package.__path__ = spec, list(spec.submodule_search_locations or ())
    package.__dict__["__version__"] = found[1] if found else "unknown"
    sys.modules[PACKAGE] = package
    try:
        binding = importlib.import_module(f"{PACKAGE}.{PACKAGE}")
    except BaseException:
        del sys.modules[PACKAGE]
        raise
    names = {name: value for name, value in vars(binding).items() if not name.startswith("_")}
    package.__dict__.update(names)
