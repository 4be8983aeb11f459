"""Compressed request bodies: gzip, deflate and zstd, piece by piece.

A decoder returns at most so many bytes as it is asked for, however much the input holds: a few
hundred bytes can stand for a gigabyte. So whoever counts the pieces stops in time.
"""

from __future__ import annotations

import sys
import zlib
from typing import Protocol

from localrun.errors import UnsupportedEncodingError, UsageError

PLAIN = frozenset({"", "identity"})
TAKEN = ("gzip", "deflate", "zstd")
GZIP = zlib.MAX_WBITS | 16
WINDOW_BITS = 23  # of zstd: 8 MB, the most that RFC 9659 lets clients use
ZLIB_METHOD, ZLIB_CHECK = 8, 31  # of the two bytes at the start of zlib's format


class Decoder(Protocol):
    """One body; its input is given in parts."""

    has_ended: bool
    needs_input: bool

    def decode(self, data: bytes, most: int) -> bytes:
        """Return the next bytes, at most ``most``; ``data`` is empty unless input is needed.

        Raises:
            UsageError: the body is not of this encoding.
        """


def decoder_of(encoding: str) -> Decoder | None:
    """Return the decoder of a Content-Encoding, None for a plain body.

    Raises:
        UnsupportedEncodingError: the encoding is another one.
    """
    name = encoding.strip().lower().removeprefix("x-")
    if name in PLAIN:
        return None
    if name == "zstd":
        return _Zstd()
    if name in TAKEN:
        return _Zlib(name)
    raise UnsupportedEncodingError(
        f"the content encoding {encoding[:40]!r} is not taken",
        hint=f"send the body plain, or as one of {', '.join(TAKEN)}",
    )


class _Zlib:
    """Gzip, or deflate: zlib's format, or the bare data that some programs call so."""

    def __init__(self, name: str) -> None:
        self.has_ended = False
        self.needs_input = True
        self._name = name
        self._rest = b""
        self._inner = zlib.decompressobj(GZIP) if name == "gzip" else None

    def decode(self, data: bytes, most: int) -> bytes:
        data = self._rest + data
        if self._inner is None:
            if len(data) < 2:  # noqa: PLR2004 - the bytes that show the format
                self._rest = data
                return b""
            self._inner = zlib.decompressobj(zlib.MAX_WBITS if _is_zlib(data) else -zlib.MAX_WBITS)
        if self.has_ended and data:
            raise _wrong(self._name)
        try:
            decoded = self._inner.decompress(data, most)
        except zlib.error as error:
            raise _wrong(self._name) from error
        self._rest, self.has_ended = self._inner.unconsumed_tail, self._inner.eof
        if self._inner.unused_data:
            raise _wrong(self._name)
        self.needs_input = not self._rest and len(decoded) < most
        return decoded


class _Zstd:
    def __init__(self) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        self.has_ended = False
        self.needs_input = True
        self._error = zstd.ZstdError
        self._inner = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: WINDOW_BITS}
        )

    def decode(self, data: bytes, most: int) -> bytes:
        if self.has_ended:
            if data:
                raise _wrong("zstd")
            return b""
        try:
            decoded: bytes = self._inner.decompress(data, most)
        except self._error as error:
            raise _wrong("zstd") from error
        self.has_ended, self.needs_input = self._inner.eof, self._inner.needs_input
        if self._inner.unused_data:
            raise _wrong("zstd")
        return decoded


def _is_zlib(data: bytes) -> bool:
    return data[0] & 0xF == ZLIB_METHOD and int.from_bytes(data[:2], "big") % ZLIB_CHECK == 0


def _wrong(name: str) -> UsageError:
    return UsageError(f"the body is not {name}, as its Content-Encoding says")
