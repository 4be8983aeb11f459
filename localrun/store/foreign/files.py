"""Models at a path that the user gives: a GGUF file, or a folder of such files.

The content of a file, read by the caller's ``classify``, determines its role; its name counts only
if the header cannot be read. Unlike in the tools' folders, damage here is an error, because the
user named the path.
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
FIND_HINT = "localrun import --from huggingface --list   finds models on this machine"

_log = logging.getLogger(__name__)


def find_gguf(path: Path, classify: Classify) -> list[ForeignModel]:
    """Return the model of a GGUF file, or each model of a folder, named by its stem.

    A file includes the other shards of its set; a folder adds its projector,
    ``chat_template.jinja`` and licenses to each model in it. ``classify`` returns a GGUF file's
    role, and raises IntegrityError if it cannot read the header.

    Raises:
        NotFoundError: the path does not exist.
        IntegrityError: the file is not GGUF or not a model, or lacks a shard.
    """
    if is_folder(path):
        return _models_of_folder(path, classify)
    if look_at(path, "other") is None:
        raise _no_file(path)
    _require_gguf(path)
    role = _role(path, classify)
    if role != "weights":
        raise IntegrityError(
            f"{path} is a file of the role {role}, not a model",
            hint=f"localrun import {path.parent}   imports it with its model, if both are there",
        )
    beside = [other.name for other in list_folder(path.parent)]
    sets = [each for each in gguf_sets(beside) if path.name in each.names]
    gguf_set = sets[0] if sets else GgufSet(stem=path.name, names=(path.name,))
    return [ForeignModel(tool=TOOL, name=gguf_set.stem, files=_shards(gguf_set, path.parent))]


def _models_of_folder(folder: Path, classify: Classify) -> list[ForeignModel]:
    paths = list_folder(folder)
    roles = {path.name: _role(path, classify) for path in paths if _is_gguf(path)}
    weights = gguf_sets(name for name, role in roles.items() if role == "weights")
    if not weights:
        raise IntegrityError(f"{folder} has no GGUF model", hint=FIND_HINT)
    for name in (name for name, role in roles.items() if role == "adapter"):
        _log.warning("left out %s: an adapter needs a model", folder / name)
    extras = _extras(paths, roles)
    return [
        ForeignModel(tool=TOOL, name=gguf_set.stem, files=(*_shards(gguf_set, folder), *extras))
        for gguf_set in weights
    ]


def _extras(paths: Iterable[Path], roles: dict[str, FileRole]) -> tuple[ForeignFile, ...]:
    """Return the files of a folder that belong to all its models: projector, template, licenses."""
    files: list[ForeignFile | None] = []
    for role in ("projector", "template", "license"):
        files += [look_at(path, role) for path in paths if _extra_role(path, roles) == role]
    return tuple(file for file in files if file is not None)


def _extra_role(path: Path, roles: dict[str, FileRole]) -> FileRole:
    if path.name == TEMPLATE_NAME:
        return "template"
    if path.name.upper().startswith(LICENSE_PREFIX) and path.name not in roles:
        return "license"
    return roles.get(path.name, "other")


def _shards(gguf_set: GgufSet, folder: Path) -> tuple[ForeignFile, ...]:
    """Return the files of a set, each checked.

    Raises:
        IntegrityError: a file is missing or is not GGUF.
    """
    if gguf_set.num_missing:
        missing = folder / gguf_set.first_missing
        if look_at(missing, "other") is not None:
            _require_gguf(missing)
        num_files = len(gguf_set.names) + gguf_set.num_missing
        raise IntegrityError(
            f"{missing} is missing "
            f"({gguf_set.num_missing} of the {num_files} files of {gguf_set.stem} are)",
            hint=f"download the missing files, then: localrun import {folder / gguf_set.names[0]}",
        )
    files = []
    for name in gguf_set.names:
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
        _log.debug("the role of %s is taken from its name: %s", path, error)
        return "projector" if is_projector_name(path.name) else "weights"


def _is_gguf(path: Path) -> bool:
    """Return whether a folder's entry is a GGUF file; log a file that only has the name."""
    if not is_gguf_name(path.name):
        return False
    try:
        _require_gguf(path)
    except (IntegrityError, NotFoundError) as error:
        _log.warning("left out: %s", error.message)
        return False
    return True


def _require_gguf(path: Path) -> None:
    """Check a file's magic bytes.

    Raises:
        IntegrityError: the bytes cannot be read, or the file is not GGUF.
        NotFoundError: the file does not exist.
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
