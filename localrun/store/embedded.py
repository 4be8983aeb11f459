"""The models that come with the package, used straight from its files.

A store that is always there and read-only: its one model is ``guide``, a real
file in the package's ``data`` folder, which llama.cpp opens by path.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

EMBEDDED = {"guide:latest": "guide.gguf"}
CHUNK_BYTES = 1 << 20


def embedded_models() -> dict[str, Path]:
    """Return the file of each embedded model by its full name."""
    folder = files("localrun") / "data"
    return {name: Path(str(folder / file)) for name, file in EMBEDDED.items()}


def file_digest(path: Path) -> str:
    """Return ``sha256:<hex>`` of a file's bytes; reads all of it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"
