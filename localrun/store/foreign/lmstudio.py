"""Models of LM Studio: ``<publisher>/<repo>/*.gguf`` below its models folder.

LM Studio shows only files at this depth
(https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/406), so only these are read. It keeps
no digests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.store.foreign.reading import list_folder, look_at, read_json, read_text, text_of
from localrun.store.foreign.sets import is_gguf_name, is_projector_name, models_of_repository

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.store.foreign.model import ForeignFile, ForeignModel

TOOL = "lmstudio"
HOME_POINTER = ".lmstudio-home-pointer"


def find_lmstudio_models(root: Path) -> list[ForeignModel]:
    """Return the models below ``root``, named ``publisher/repo:QUANT``."""
    models: list[ForeignModel] = []
    for publisher in list_folder(root):
        for folder in list_folder(publisher):
            name = f"{publisher.name}/{folder.name}"
            models += models_of_repository(_files(folder), tool=TOOL, repository=name)
    return models


def lmstudio_folders(home: Path) -> list[Path]:
    """Return the possible model folders: the configured ones, then the default."""
    homes = [home / ".lmstudio", home / ".cache" / "lm-studio"]
    pointed = (read_text(home / HOME_POINTER) or "").strip()
    if pointed:
        homes.insert(0, home / pointed)
    configured = [
        text_of(read_json(folder / "settings.json").get("downloadsFolder")) for folder in homes
    ]
    return [
        *(home / folder for folder in configured if folder),
        *(folder / "models" for folder in homes),
    ]


def _files(folder: Path) -> list[ForeignFile]:
    files = [
        look_at(path, "projector" if is_projector_name(path.name) else "weights")
        for path in list_folder(folder)
        if is_gguf_name(path.name)
    ]
    return [file for file in files if file is not None]
