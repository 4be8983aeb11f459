"""Translation of a GGUF file that was written for another program than llama.cpp.

    header     written anew by the rules of its family
    tensors    as they are: shared with the source where the file system can, else copied; those
               that llama.cpp wants in another form are made of them
    projector  its tensors become a second file

The file is untrusted: its header is read within bounds, and checked to have all its data.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.disk import storage_error
from localrun.errors import IntegrityError
from localrun.gguf.data import check_data
from localrun.gguf.header import parse_header
from localrun.gguf.reader import Reader
from localrun.translation.rules import ARCHITECTURE, rules_for
from localrun.translation.tensors import new_tensors
from localrun.translation.values import (
    converted,
    cut_list,
    encoded,
    encoded_text,
    with_byte_tokens,
)
from localrun.translation.writing import NewFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from localrun.gguf.header import Header
    from localrun.translation.pieces import NewTensor
    from localrun.translation.rules import Rules

TOKENS, TOKEN_TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
VOCABULARY = (TOKENS, "tokenizer.ggml.scores", TOKEN_TYPES)
LARGEST_HEADER = 128 * 1024 * 1024  # which is held in memory; those of real models are some 20 MB
BYTE_TOKENS = "byte_tokens"  # a change that needs the tokens too
KEPT_BY_PROJECTOR = ("general.name", "general.basename", "general.size_label")
UNSET = (None, encoded_text(""), encoded_text("default"))  # values that say nothing
NO_PROGRESS: Callable[[int, int], None] = lambda _done, _of: None  # noqa: E731 - a constant


@dataclass(frozen=True, slots=True)
class Translation:
    """Files that a translation makes."""

    num_bytes: int  # of both, at most
    num_dropped: int  # tensors that are in neither
    has_projector: bool


@dataclass(frozen=True, slots=True)
class _OldFile:
    """An open file with its header."""

    file: BinaryIO
    header: Header
    places: Mapping[str, tuple[int, int]]
    rules: Rules
    num_bytes: int

    def content(self, key: str) -> bytes:
        """Return the encoded value of a key."""
        start, end = self.places[key]
        self.file.seek(start)
        return self.file.read(end - start)


def examine(path: Path) -> Translation:
    """Return what the translation of a file would make.

    Raises:
        IntegrityError, ValueError: as `translate`.
    """
    with _opened(path) as source:
        return _translation(source, _text(source), _projector(source))


def translate(
    path: Path,
    target: Path,
    projector: Path | None = None,
    on_progress: Callable[[int, int], None] = NO_PROGRESS,
) -> Translation:
    """Write the translation of a file that `rules_for` recognizes.

    ``projector`` becomes the second file if the source has a projector, and is not made otherwise;
    without ``projector`` it is left out. ``on_progress`` gets the bytes of tensors that are done
    and all of them.

    Raises:
        IntegrityError: the file is damaged, or has values or tensors that the rules do not fit.
        StorageError: the disk does not take the files.
        ValueError: the file is not recognized.
    """
    with _opened(path) as source:
        text = _text(source)
        second = None if projector is None else _projector(source)
        report = _Progress(_old_bytes(text) + _old_bytes(second), on_progress)
        _write(source, text, target, report)
        if second is not None and projector is not None:
            _write(source, second, projector, report)
        return _translation(source, text, second)


class _Progress:
    def __init__(self, total: int, on_progress: Callable[[int, int], None]) -> None:
        self._done, self._total, self._report = 0, total, on_progress

    def add(self, count: int) -> None:
        self._done += count
        self._report(min(self._done, self._total), self._total)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_OldFile]:
    with path.open("rb") as file:
        places: dict[str, tuple[int, int]] = {}
        header, size = parse_header(Reader(file, path), places=places), path.stat().st_size
        check_data(header, size)
        rules = rules_for(header)
        if rules is None:
            raise ValueError(f"{path} needs no translation")
        if header.data_start > LARGEST_HEADER:
            raise IntegrityError(f"the header has {header.data_start} bytes, not {LARGEST_HEADER}")
        yield _OldFile(file, header, places, rules, size)


def _text(source: _OldFile) -> NewFile:
    return NewFile(_pairs(source), _checked(source, source.rules))


def _projector(source: _OldFile) -> NewFile | None:
    rules = source.rules.projector_of(source.header)
    if rules is None:
        return None
    pairs = {key: source.content(key) for key in KEPT_BY_PROJECTOR if key in source.places}
    pairs |= {ARCHITECTURE: encoded_text(rules.becomes), "general.type": encoded_text("mmproj")}
    return NewFile(pairs | _new_pairs(source, rules, pairs), _checked(source, rules))


def _checked(source: _OldFile, rules: Rules) -> tuple[NewTensor, ...]:
    """Return the tensors of a new file, which use no byte of the source twice.

    llama.cpp takes a model only if it knows all tensors; of a projector it ignores the others.
    """
    from localrun.translation.known import check_known, is_known  # loads numpy

    tensors = new_tensors(source.header, rules)
    if rules.take is None:
        check_known(tensor.name for tensor in tensors)
    else:
        tensors = [tensor for tensor in tensors if is_known(tensor.name)]
    if sum(tensor.old_bytes for tensor in tensors) > source.num_bytes:
        raise IntegrityError("the tensors of the file overlap")
    return tuple(tensors)


def _pairs(source: _OldFile) -> dict[str, bytes]:
    """Return the keys and encoded values of the text model."""
    header, rules = source.header, source.rules
    kept = (key for key in header.metadata if key not in rules.remove)
    pairs = {rules.new_key(key): _value(source, key) for key in kept}
    pairs[ARCHITECTURE] = encoded_text(rules.becomes)
    return pairs | _new_pairs(source, rules, pairs)


def _new_pairs(source: _OldFile, rules: Rules, pairs: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the pairs that rules set, and the defaults of those that are missing."""
    chosen = _encoded(rules.set, source.header)
    known = {**pairs, **chosen}
    specs = {key: spec for key, spec in rules.default.items() if known.get(key) in UNSET}
    return _encoded(specs, source.header) | chosen


def _encoded(specs: Mapping[str, Mapping[str, Any]], header: Header) -> dict[str, bytes]:
    made = {key: encoded(spec, header) for key, spec in specs.items()}
    return {key: content for key, content in made.items() if content is not None}


def _value(source: _OldFile, key: str) -> bytes:
    rules, content = source.rules, source.content(key)
    change = rules.convert.get(key)
    if change is not None and change != BYTE_TOKENS:
        content = converted(change, content)
    num_rows = _num_rows(source.header, rules)
    if key in VOCABULARY and num_rows is not None:
        content = cut_list(content, num_rows)
    if change == BYTE_TOKENS:
        content = with_byte_tokens(content, source.content(TOKENS))
    return content


def _num_rows(header: Header, rules: Rules) -> int | None:
    tensor = header.tensors.get(rules.rows) if rules.rows else None
    return tensor.sizes[1] if tensor is not None and len(tensor.sizes) > 1 else None


def _old_bytes(file: NewFile | None) -> int:
    return 0 if file is None else sum(tensor.old_bytes for tensor in file.tensors)


def _translation(source: _OldFile, text: NewFile, projector: NewFile | None) -> Translation:
    files = [text] if projector is None else [text, projector]
    used = {start for file in files for tensor in file.tensors for start in tensor.starts}
    header = source.header
    dropped = [t for t in header.tensors.values() if header.data_start + t.offset not in used]
    num_bytes = sum(file.num_bytes for file in files)
    return Translation(num_bytes, len(dropped), has_projector=projector is not None)


def _write(source: _OldFile, new: NewFile, target: Path, report: _Progress) -> None:
    try:
        with target.open("wb") as made:
            new.write(source.file, made, report.add)
            made.flush()
            os.fsync(made.fileno())
    except OSError as error:
        raise storage_error(error, target) from error
