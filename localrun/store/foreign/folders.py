"""Model folders of other tools on this machine, and the models in them.

Owns the tools' environment variables and default folders. Folders of all operating systems are
listed together; missing ones are skipped.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from localrun.store.foreign.huggingface import find_huggingface_models
from localrun.store.foreign.llamacpp import find_llamacpp_models
from localrun.store.foreign.lmstudio import find_lmstudio_models, lmstudio_folders
from localrun.store.foreign.ollama import find_ollama_models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.store.foreign.model import ForeignModel

OLLAMA_SYSTEM_FOLDERS = (
    Path("/usr/share/ollama/.ollama/models"),  # Ollama's own installer
    Path("/var/lib/ollama"),  # Arch Linux
    Path("/var/snap/ollama/common/models"),
)

_log = logging.getLogger(__name__)


class ForeignTool(StrEnum):
    """Tools whose models can be found."""

    OLLAMA = "ollama"
    HUGGINGFACE = "huggingface"
    LMSTUDIO = "lmstudio"
    LLAMACPP = "llama.cpp"


def default_folders(tool: ForeignTool, environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folders where a tool keeps models, in order; they need not exist."""
    if tool is ForeignTool.OLLAMA:
        named = _named_folder(environ, home, "OLLAMA_MODELS")
        return [named] if named else [home / ".ollama" / "models", *OLLAMA_SYSTEM_FOLDERS]
    if tool is ForeignTool.HUGGINGFACE:
        return [_hub_cache(environ, home)]
    if tool is ForeignTool.LMSTUDIO:
        return list(dict.fromkeys(lmstudio_folders(home)))
    if tool is ForeignTool.LLAMACPP:
        return _llamacpp_folders(environ, home)
    assert_never(tool)


def find_foreign_models(
    tool: ForeignTool, environ: Mapping[str, str], home: Path
) -> list[ForeignModel]:
    """Return all models of a tool; the first of two with the same name wins."""
    finders: Mapping[ForeignTool, Callable[[Path], list[ForeignModel]]] = {
        ForeignTool.OLLAMA: find_ollama_models,
        ForeignTool.HUGGINGFACE: find_huggingface_models,
        ForeignTool.LMSTUDIO: find_lmstudio_models,
        ForeignTool.LLAMACPP: find_llamacpp_models,
    }
    models: dict[str, ForeignModel] = {}
    for folder in default_folders(tool, environ, home):
        found_models = finders[tool](folder)
        _log.debug("%d models of %s in %s", len(found_models), tool, folder)
        for model in found_models:
            models.setdefault(model.name, model)
    return list(models.values())


def _named_folder(environ: Mapping[str, str], home: Path, name: str) -> Path | None:
    """Return the folder that a variable names, or None if it is unset or empty."""
    value = environ.get(name, "").strip()
    if value == "~" or value.startswith("~/"):
        return home / value[2:]
    return Path(value) if value else None


def _hub_cache(environ: Mapping[str, str], home: Path) -> Path:
    """Return the cache by the rules of huggingface_hub: the first variable that is set wins."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := _named_folder(environ, home, name):
            return folder
    if hf_home := _named_folder(environ, home, "HF_HOME"):
        return hf_home / "hub"
    return _cache_home(environ, home) / "huggingface" / "hub"


def _cache_home(environ: Mapping[str, str], home: Path) -> Path:
    return _named_folder(environ, home, "XDG_CACHE_HOME") or home / ".cache"


def _llamacpp_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the cache by the rules of llama.cpp, and its newer place in the hub's cache."""
    if folder := _named_folder(environ, home, "LLAMA_CACHE"):
        return [folder]
    windows = _named_folder(environ, home, "LOCALAPPDATA")
    return [
        _cache_home(environ, home) / "llama.cpp",
        home / "Library" / "Caches" / "llama.cpp",
        *([windows / "llama.cpp"] if windows else []),
        _hub_cache(environ, home),
    ]
