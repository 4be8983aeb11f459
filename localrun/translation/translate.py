"""Translation of a GGUF file that was written for another program than llama.cpp.

    header     written anew by the rules of its family
    tensors    as they are: shared with the source where the file system can, else copied

Blocks can be shared only if they begin at the same place within a block in both files, so a text
of the right length is added to the header. Tensors that are not part of the text model are left
out. The file is untrusted: its header is read within bounds, and checked to have all its data.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.disk import storage_error
from localrun.errors import IntegrityError
from localrun.gguf.data import check_data, tensor_bytes
from localrun.gguf.header import DEFAULT_ALIGNMENT, MAGIC, parse_header
from localrun.gguf.reader import Reader
from localrun.system.files import copy_range
from localrun.translation.rules import ARCHITECTURE, rules_for
from localrun.translation.values import converted, cut_list, encoded, encoded_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from localrun.gguf.header import GgufTensor, Header
    from localrun.translation.rules import Rules

VERSION = 3
BLOCK_BYTES = 4096  # of file systems that share blocks
PADDING = "localrun.padding"
VOCABULARY = ("tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type")
LARGEST_HEADER = 128 * 1024 * 1024  # which is held in memory; those of real models are some 20 MB


@dataclass(frozen=True, slots=True)
class Translation:
    """What a translation left out."""

    num_dropped: int  # tensors of a projector


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor of the new file."""

    name: str
    sizes: tuple[int, ...]
    kind: int
    start: int  # offset of its data in the source
    num_bytes: int


@dataclass(frozen=True, slots=True)
class _OldFile:
    """An open file with its header."""

    file: BinaryIO
    header: Header
    places: Mapping[str, tuple[int, int]]

    def content(self, key: str) -> bytes:
        """Return the encoded value of a key."""
        start, end = self.places[key]
        self.file.seek(start)
        return self.file.read(end - start)


def translate(
    path: Path, target: Path, on_progress: Callable[[int, int], None] | None = None
) -> Translation:
    """Write the translation of a file that `rules_for` recognizes.

    ``on_progress`` gets the bytes of tensors that are done and all of them.

    Raises:
        IntegrityError: the file is damaged, or has values that the rules do not fit.
        StorageError: the disk does not take the file.
        ValueError: the file is not recognized.
    """
    with path.open("rb") as file:
        places: dict[str, tuple[int, int]] = {}
        source = _OldFile(file, parse_header(Reader(file, path), places=places), places)
        check_data(source.header, path.stat().st_size)
        rules = rules_for(source.header)
        if rules is None:
            raise ValueError(f"{path} needs no translation")
        tensors = _tensors(source.header, rules)
        _check_bounds(source.header, tensors, path.stat().st_size)
        try:
            with target.open("wb") as made:
                _write(made, source, _pairs(source, rules), tensors, on_progress)
                made.flush()
                os.fsync(made.fileno())
        except OSError as error:
            raise storage_error(error, target) from error
    return Translation(num_dropped=source.header.num_tensors - len(tensors))


def _check_bounds(header: Header, tensors: list[_Tensor], file_bytes: int) -> None:
    """Check that neither memory nor disk takes more than a file of this size should need."""
    if header.data_start > LARGEST_HEADER:
        raise IntegrityError(f"the header has {header.data_start} bytes, not {LARGEST_HEADER}")
    if sum(tensor.num_bytes for tensor in tensors) > file_bytes:
        raise IntegrityError("the tensors of the file overlap")


def _pairs(source: _OldFile, rules: Rules) -> dict[str, bytes]:
    """Return the keys and encoded values of the new file."""
    header = source.header
    num_rows = _num_rows(header, rules)
    kept = (key for key in header.metadata if key not in rules.remove)
    pairs = {rules.new_key(key): _value(source, rules, key, num_rows) for key in kept}
    pairs[ARCHITECTURE] = encoded_text(rules.becomes)
    for key, spec in rules.default.items():
        if key not in pairs and (content := encoded(spec, header)) is not None:
            pairs[key] = content
    for key, spec in rules.set.items():
        if (content := encoded(spec, header)) is not None:
            pairs[key] = content
    return pairs


def _value(source: _OldFile, rules: Rules, key: str, num_rows: int | None) -> bytes:
    content = source.content(key)
    if key in rules.convert:
        return converted(rules.convert[key], content)
    if key in VOCABULARY and num_rows is not None:
        return cut_list(content, num_rows)
    return content


def _num_rows(header: Header, rules: Rules) -> int | None:
    tensor = header.tensors.get(rules.rows) if rules.rows else None
    return tensor.sizes[1] if tensor is not None and len(tensor.sizes) > 1 else None


def _tensors(header: Header, rules: Rules) -> list[_Tensor]:
    """Return the tensors of the new file, in the order of their data."""
    found = [
        _tensor(header, rules.new_tensor(name), tensor)
        for name, tensor in header.tensors.items()
        if not rules.drops(name)
    ]
    if len({tensor.name for tensor in found}) < len(found):
        raise IntegrityError("two tensors of the file would have the same name in llama.cpp")
    return sorted(found, key=lambda tensor: tensor.start)


def _tensor(header: Header, name: str, tensor: GgufTensor) -> _Tensor:
    num_bytes = tensor_bytes(tensor)
    if num_bytes is None:
        raise IntegrityError(f"tensor {name} has the unknown type {tensor.kind}")
    return _Tensor(name, tensor.sizes, tensor.kind, header.data_start + tensor.offset, num_bytes)


def _write(
    made: BinaryIO,
    source: _OldFile,
    pairs: dict[str, bytes],
    tensors: list[_Tensor],
    on_progress: Callable[[int, int], None] | None,
) -> None:
    alignment = _alignment(source.header)
    first = tensors[0].start if tensors else 0
    size = len(_header({**pairs, PADDING: encoded_text("")}, tensors, alignment))
    start = -(-size // alignment) * alignment
    padding = (first - start) % BLOCK_BYTES  # so that the data begins as in the source
    start += padding
    header = _header({**pairs, PADDING: encoded_text(" " * padding)}, tensors, alignment)
    made.write(header.ljust(start, b"\0"))
    made.flush()
    total, done = sum(tensor.num_bytes for tensor in tensors), 0
    for source_start, offset, num_bytes in _runs(tensors, alignment):
        for count in copy_range(
            source.file.fileno(), source_start, made.fileno(), start + offset, num_bytes
        ):
            done += count
            if on_progress is not None:
                on_progress(min(done, total), total)
    end = _offsets(tensors, alignment)[-1] if tensors else 0
    made.truncate(start + end)


def _header(pairs: Mapping[str, bytes], tensors: list[_Tensor], alignment: int) -> bytes:
    """Return the header, without what fills it up to the data."""
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(pairs))]
    for key, content in pairs.items():
        parts += [_name(key), content]
    for tensor, offset in zip(tensors, _offsets(tensors, alignment), strict=False):
        count = len(tensor.sizes)
        sizes = struct.pack(f"<I{count}Q", count, *tensor.sizes)
        parts += [_name(tensor.name), sizes, struct.pack("<IQ", tensor.kind, offset)]
    return b"".join(parts)


def _name(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content


def _offsets(tensors: list[_Tensor], alignment: int) -> list[int]:
    """Return the offset of each tensor within the data, and the end of all."""
    offsets = [0]
    for tensor in tensors:
        end = offsets[-1] + tensor.num_bytes
        offsets.append(-(-end // alignment) * alignment)
    return offsets


def _runs(tensors: list[_Tensor], alignment: int) -> Iterator[tuple[int, int, int]]:
    """Yield (offset in the source, offset in the new data, bytes) of data that stays together."""
    run: tuple[int, int, int] | None = None
    for tensor, offset in zip(tensors, _offsets(tensors, alignment), strict=False):
        if run is not None and tensor.start - run[0] == offset - run[1]:
            run = run[0], run[1], offset - run[1] + tensor.num_bytes
            continue
        if run is not None:
            yield run
        run = tensor.start, offset, tensor.num_bytes
    if run is not None:
        yield run


def _alignment(header: Header) -> int:
    value = header.metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    return value if isinstance(value, int) else DEFAULT_ALIGNMENT
