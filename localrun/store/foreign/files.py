"""A model that the user points at: a GGUF file, or a folder with such files.

What a file is, its content tells, by the caller's ``classify``; its name decides
only where the header cannot be read. Unlike with the tools' folders, what is wrong
here is an error, as the user named the path.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, NotFoundError
from localrun.store.foreign.model import ForeignFile, ForeignModel
from localrun.store.foreign.reading import is_folder, list_folder, look_at
from localrun.store.foreign.sets import GgufSet, gguf_sets, is_gguf_name, is_projector_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from localrun.store.foreign.model import FileRole

    Classify = Callable[[Path], FileRole]

TOOL = "file"
MAGIC = b"GGUF"
TEMPLATE_NAME = "chat_template.jinja"
LICENSE_PREFIX = "LICENSE"
FIND_HINT = "look for models on this machine: localrun import --from huggingface --list"

_log = logging.getLogger(__name__)


def find_gguf(path: Path, classify: Classify) -> list[ForeignModel]:
    """Return the model of a GGUF file, or each model of a folder, named by its stem.

    A file brings the other shards of its set; a folder brings its projector,
    ``chat_template.jinja`` and licenses to each model in it. ``classify`` tells a
    GGUF file's role and raises IntegrityError where it cannot read the header.

    Raises:
        NotFoundError: nothing is at the path.
        IntegrityError: it is no GGUF, no model, or a shard of it is missing.
    """
    if is_folder(path):
        return _models_of_folder(path, classify)
    if look_at(path, "other") is None:
        raise _no_file(path)
    _require_gguf(path)
    role = _role(path, classify)
    if role != "weights":
        raise IntegrityError(
            f"{path} is of the kind {role}, not a model",
            hint=f"import the folder that has its model too: localrun import {path.parent}",
        )
    beside = [other.name for other in list_folder(path.parent)]
    sets = [one for one in gguf_sets(beside) if path.name in one.names]
    one = sets[0] if sets else GgufSet(stem=path.name, names=(path.name,))
    return [ForeignModel(tool=TOOL, name=one.stem, files=_shards(one, path.parent))]


def _models_of_folder(folder: Path, classify: Classify) -> list[ForeignModel]:
    paths = list_folder(folder)
    roles = {path.name: _role(path, classify) for path in paths if _is_gguf(path)}
    weights = gguf_sets(name for name, role in roles.items() if role == "weights")
    if not weights:
        raise IntegrityError(f"{folder} has no model in GGUF", hint=FIND_HINT)
    for name in (name for name, role in roles.items() if role == "adapter"):
        _log.warning("left out %s: an adapter is not applied by itself", folder / name)
    extras = _extras(paths, roles)
    return [
        ForeignModel(tool=TOOL, name=one.stem, files=(*_shards(one, folder), *extras))
        for one in weights
    ]


def _extras(paths: Iterable[Path], roles: dict[str, FileRole]) -> tuple[ForeignFile, ...]:
    """Return what belongs to every model of a folder: projector, template, licenses."""
    found: list[ForeignFile | None] = []
    for role in ("projector", "template", "license"):
        found += [look_at(path, role) for path in paths if _extra_role(path, roles) == role]
    return tuple(file for file in found if file is not None)


def _extra_role(path: Path, roles: dict[str, FileRole]) -> FileRole:
    if path.name == TEMPLATE_NAME:
        return "template"
    if path.name.upper().startswith(LICENSE_PREFIX) and path.name not in roles:
        return "license"
    return roles.get(path.name, "other")


def _shards(one: GgufSet, folder: Path) -> tuple[ForeignFile, ...]:
    """Return a set's files, each of them looked at.

    Raises:
        IntegrityError: one is missing, or is no GGUF.
    """
    if one.num_missing:
        missing = folder / one.first_missing
        if look_at(missing, "other") is not None:
            _require_gguf(missing)
        num_files = len(one.names) + one.num_missing
        raise IntegrityError(
            f"{missing} is missing ({one.num_missing} of the {num_files} files of {one.stem} are)",
            hint=f"download what is missing, then: localrun import {folder / one.names[0]}",
        )
    files = []
    for name in one.names:
        _require_gguf(folder / name)
        file = look_at(folder / name, "weights")
        if file is None:
            raise _no_file(folder / name)
        files.append(file)
    return tuple(files)


def _role(path: Path, classify: Classify) -> FileRole:
    try:
        return classify(path)
    except (IntegrityError, OSError) as error:
        _log.debug("the role of %s is told by its name: %s", path, error)
        return "projector" if is_projector_name(path.name) else "weights"


def _is_gguf(path: Path) -> bool:
    """Return whether a folder's entry is a GGUF file; one that only says so is logged."""
    if not is_gguf_name(path.name):
        return False
    try:
        _require_gguf(path)
    except (IntegrityError, NotFoundError) as error:
        _log.warning("left out: %s", error.message)
        return False
    return True


def _require_gguf(path: Path) -> None:
    """Look at a file's first bytes.

    Raises:
        IntegrityError: they cannot be read, or are not those of a GGUF file.
        NotFoundError: there is no such file.
    """
    if look_at(path, "other") is None:
        raise _no_file(path)
    try:
        with path.open("rb") as file:
            begins_with = file.read(len(MAGIC))
    except OSError as error:
        raise IntegrityError(f"cannot read {path}: {error.strerror}", hint=FIND_HINT) from error
    if begins_with != MAGIC:
        raise IntegrityError(f"{path} is not a GGUF file", hint=FIND_HINT)


def _no_file(path: Path) -> NotFoundError:
    return NotFoundError(f"no file {path}", hint=FIND_HINT)
