"""Files of a model's folder: lookup, and bounded reading of small files.

The folder is untrusted. A file name in one of its files may not lead out of the folder, neither by
its text nor through a link. Only regular files are opened, reads are bounded, and nothing is
executed.
"""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

from localrun.errors import IntegrityError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_TEXT = 64 * 1024 * 1024  # the tokenizer.json of 256k tokens has some 33 MB

Json = dict[str, Any]


def find(folder: Path, name: str) -> Path | None:
    """Return the regular file of this name in the folder, or None if it does not exist.

    Raises:
        IntegrityError: the name or a link leads out of the folder, or is not a regular file.
    """
    if name in {"", ".", ".."} or "/" in name or "\\" in name or "\0" in name:
        raise IntegrityError(f"{folder} names a file outside of itself: {name!r}")
    path = folder / name
    try:
        target = path.resolve(strict=True)
        is_regular = stat.S_ISREG(target.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, RuntimeError) as error:  # a loop of links
        raise IntegrityError(f"{path} cannot be read: {error}") from error
    if not any(target.is_relative_to(allowed) for allowed in _allowed_folders(folder)):
        raise IntegrityError(
            f"{path} is a link that leads out of its folder", hint="put the file itself there"
        )
    if not is_regular:
        raise IntegrityError(f"{path} is not a regular file")
    return target


def require(folder: Path, name: str) -> Path:
    """Return the regular file of this name in the folder.

    Raises:
        NotFoundError: the file does not exist.
        IntegrityError: as for ``find``.
    """
    path = find(folder, name)
    if path is None:
        raise NotFoundError(f"{folder} has no {name}", hint=f"download {name} as well")
    return path


def read_bytes(path: Path, most: int = LARGEST_TEXT) -> bytes:
    """Return the bytes of a small file.

    Raises:
        IntegrityError: the file is larger than ``most`` bytes.
    """
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise IntegrityError(f"{path} has more than {most:,} bytes, too many for such a file")
    return data


def read_text(path: Path) -> str:
    """Return the UTF-8 text of a small file.

    Raises:
        IntegrityError: the file is too large, or not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path} is not UTF-8 text: {error}") from error


def read_json(path: Path) -> Json:
    """Return the JSON object in a small file.

    Raises:
        IntegrityError: the file is too large, or not a JSON object.
    """
    return parse_json(read_bytes(path), str(path))


def parse_json(data: bytes, where: str) -> Json:
    """Return the JSON object in ``data``.

    ``Infinity`` and ``NaN`` are read, as published configurations have them for values without a
    limit; who reads a number checks that it is finite.

    Raises:
        IntegrityError: not a JSON object, or a repeated key; the message names ``where``.
    """
    try:
        value = json.loads(data, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{where} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise IntegrityError(f"{where} is not a JSON object")
    return value


def _allowed_folders(folder: Path) -> list[Path]:
    """Return the folder, and the folder of blobs if it is in a Hugging Face cache."""
    real = folder.resolve()
    in_cache = real.parent.name == "snapshots"
    return [real, real.parent.parent / "blobs"] if in_cache else [real]


def _without_repeats(pairs: list[tuple[str, object]]) -> Json:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is repeated")
    return values
