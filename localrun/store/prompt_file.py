"""File format of one saved prompt segment: the data that a model computed for its tokens.

    magic, start, number of tokens, number of bytes | sha256 of the data | hash of the
    tokens before ``start`` | the tokens (int64) | HMAC of all before and of the scope | data

The data goes to a library that trusts it, so only files of this program are accepted: the HMAC key
is created on this machine, and the scope is the model that the file belongs to. The HMAC also
detects torn files, so writing needs no fsync. The files hold users' texts, so only their owner may
read them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.system.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HEADER = struct.Struct("<8sIIQ32s32s")
MAGIC = b"lrprmpt2"
MAC_BYTES = 32
TOKEN_BYTES = 8
MAX_TOKENS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """HMAC key and scope that mark a file as ours and of one model."""

    key: bytes
    scope: str

    def sign(self, content: bytes) -> bytes:
        """Return the HMAC-SHA256 of the scope and the content."""
        return hmac.digest(self.key, self.scope.encode() + b"\0" + content, "sha256")


@dataclass(frozen=True, slots=True, eq=False)
class PromptSegment:
    """File header: data for ``tokens`` at positions [start, end) after ``prefix``."""

    path: Path
    start: int
    tokens: list[int]
    prefix: bytes  # `hash_of` the tokens before ``start``
    num_bytes: int  # of the data
    digest: bytes  # of the data

    @property
    def end(self) -> int:
        """Return the position after the last token."""
        return self.start + len(self.tokens)

    @property
    def size_bytes(self) -> int:
        """Return the size of the whole file."""
        return size_of(len(self.tokens), self.num_bytes)


def size_of(num_tokens: int, num_bytes: int) -> int:
    """Return the size of a file in bytes."""
    return HEADER.size + num_tokens * TOKEN_BYTES + MAC_BYTES + num_bytes


def packed(tokens: Sequence[int]) -> bytes:
    """Return tokens as int64 bytes: stable ids of media are larger than those of a vocabulary."""
    return array("q", tokens).tobytes()


def hash_of(tokens: Sequence[int]) -> bytes:
    """Return the hash that identifies a prefix."""
    return hashlib.sha256(packed(tokens)).digest()


def write_segment(
    folder: Path, signer: Signer, tokens: Sequence[int], start: int, data: bytes
) -> PromptSegment:
    """Write the data of ``tokens[start:]``; the final name exists only with whole content.

    Raises:
        OSError: the disk is full, or the folder is gone.
    """
    own, prefix, digest = tokens[start:], hash_of(tokens[:start]), hashlib.sha256(data).digest()
    head = HEADER.pack(MAGIC, start, len(own), len(data), digest, prefix) + packed(own)
    name = hashlib.sha256(prefix + packed(own)).hexdigest()[:40]
    path = folder / f"{name}.prompt"
    temporary = folder / f"{name}.tmp-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.writelines((head, signer.sign(head), data))
        replace_file(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return PromptSegment(path, start, list(own), prefix, len(data), digest)


def read_head(path: Path, signer: Signer) -> PromptSegment | None:
    """Return the header of a file, or None if it is torn, damaged or foreign.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        fixed = file.read(HEADER.size)
        if len(fixed) < HEADER.size:
            return None
        magic, start, num_tokens, num_bytes, digest, prefix = HEADER.unpack(fixed)
        if magic != MAGIC or num_tokens > MAX_TOKENS:
            return None
        body = file.read(num_tokens * TOKEN_BYTES)
        if not hmac.compare_digest(file.read(MAC_BYTES), signer.sign(fixed + body)):
            return None
        segment = PromptSegment(path, start, array("q", body).tolist(), prefix, num_bytes, digest)
        return segment if os.fstat(file.fileno()).st_size == segment.size_bytes else None


def read_data(segment: PromptSegment) -> bytes | None:
    """Return the verified data, or None if it is damaged.

    Raises:
        OSError: the file cannot be read.
    """
    with segment.path.open("rb") as file:
        file.seek(segment.size_bytes - segment.num_bytes)
        data = file.read(segment.num_bytes)
    return data if hashlib.sha256(data).digest() == segment.digest else None
