"""The models that come with the package, used straight from its files.

A store that is always there and read-only: its one model is ``guide``, a real
file in the package's ``data`` folder, which llama.cpp opens by path.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

EMBEDDED = {"guide:latest": "guide.gguf"}


def embedded_models() -> dict[str, Path]:
    """Return the file of each embedded model by its full name."""
    folder = files("localrun") / "data"
    return {name: Path(str(folder / file)) for name, file in EMBEDDED.items()}
