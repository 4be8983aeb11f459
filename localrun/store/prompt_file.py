"""One file of computed prompt: what a model computed for a run of tokens.

    magic, start, number of tokens, number of bytes | sha256 of the data | hash of the
    tokens before ``start`` | the tokens | HMAC of all before and of the scope | data

The data goes to a library that trusts it, so only what this program wrote is given out:
the key of the HMAC is made on this machine, the scope is the model that the file belongs
to. That finds torn files too, so writing needs no fsync. The files hold what people said,
so only their owner may read them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HEADER = struct.Struct("<8sIIQ32s32s")
MAGIC = b"lrprmpt1"
MAC_BYTES = 32
TOKEN_BYTES = 4
MOST_TOKENS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """What makes a file ours, and of one model."""

    key: bytes
    scope: str

    def of(self, content: bytes) -> bytes:
        """Return the code that nobody without the key can make."""
        return hmac.digest(self.key, self.scope.encode() + b"\0" + content, "sha256")


@dataclass(frozen=True, slots=True, eq=False)
class PromptSegment:
    """A file's head: it is for ``tokens`` at positions [start, end) behind ``prefix``."""

    path: Path
    start: int
    tokens: list[int]
    prefix: bytes  # `hash_of` the tokens before
    num_bytes: int  # of the data
    digest: bytes  # of the data

    @property
    def end(self) -> int:
        """Return the position behind its last token."""
        return self.start + len(self.tokens)

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the whole file."""
        return size_of(len(self.tokens), self.num_bytes)


def size_of(num_tokens: int, num_bytes: int) -> int:
    """Return the bytes of a file."""
    return HEADER.size + num_tokens * TOKEN_BYTES + MAC_BYTES + num_bytes


def packed(tokens: Sequence[int]) -> bytes:
    """Return tokens as bytes, 32 bits each."""
    return array("i", tokens).tobytes()


def hash_of(tokens: Sequence[int]) -> bytes:
    """Return what names a beginning."""
    return hashlib.sha256(packed(tokens)).digest()


def write_run(
    folder: Path, seal: Signer, tokens: Sequence[int], start: int, data: bytes
) -> PromptSegment:
    """Write the data of ``tokens[start:]``; a file of the final name is whole.

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
            file.writelines((head, seal.of(head), data))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return PromptSegment(path, start, list(own), prefix, len(data), digest)


def read_head(path: Path, seal: Signer) -> PromptSegment | None:
    """Return what a file is for; None when it is torn, damaged or not ours.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        fixed = file.read(HEADER.size)
        if len(fixed) < HEADER.size:
            return None
        magic, start, num_tokens, num_bytes, digest, prefix = HEADER.unpack(fixed)
        if magic != MAGIC or num_tokens > MOST_TOKENS:
            return None
        body = file.read(num_tokens * TOKEN_BYTES)
        if not hmac.compare_digest(file.read(MAC_BYTES), seal.of(fixed + body)):
            return None
        run = PromptSegment(path, start, array("i", body).tolist(), prefix, num_bytes, digest)
        return run if os.fstat(file.fileno()).st_size == run.size_bytes else None


def read_data(run: PromptSegment) -> bytes | None:
    """Return the data as it was written, None where it is not.

    Raises:
        OSError: it cannot be read.
    """
    with run.path.open("rb") as file:
        file.seek(run.size_bytes - run.num_bytes)
        data = file.read(run.num_bytes)
    return data if hashlib.sha256(data).digest() == run.digest else None
