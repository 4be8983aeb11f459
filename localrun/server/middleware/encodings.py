"""Decompression of request bodies: gzip, deflate and zstd, piece by piece.

A decoder never returns more bytes than the caller asks for: a few hundred bytes of input may
expand to a gigabyte, and the caller stops at its limit.
"""

from __future__ import annotations

import sys
import zlib
from typing import Protocol

from localrun.errors import UnsupportedEncodingError, UsageError

PLAIN = frozenset({"", "identity"})
ENCODINGS = ("gzip", "deflate", "zstd")
GZIP = zlib.MAX_WBITS | 16
WINDOW_BITS = 23  # of zstd: 8 MB, the largest window that RFC 9659 allows
ZLIB_METHOD, ZLIB_CHECK = 8, 31  # in the two bytes of zlib's header (RFC 1950)


class Decoder(Protocol):
    """Decoder of one body, which receives its input in parts."""

    has_ended: bool
    needs_input: bool

    def decode(self, data: bytes, most: int) -> bytes:
        """Return the next bytes, at most ``most``; ``data`` must be empty unless `needs_input`.

        Raises:
            UsageError: the body does not have this encoding.
        """


def decoder_of(encoding: str) -> Decoder | None:
    """Return the decoder of a Content-Encoding, None for an uncompressed body.

    Raises:
        UnsupportedEncodingError: the encoding is unknown.
    """
    name = encoding.strip().lower().removeprefix("x-")
    if name in PLAIN:
        return None
    if name == "zstd":
        return _Zstd()
    if name in ENCODINGS:
        return _Zlib(name)
    raise UnsupportedEncodingError(
        f"the content encoding {encoding[:40]!r} is not supported",
        hint=f"send the body uncompressed, or with one of {', '.join(ENCODINGS)}",
    )


class _Zlib:
    """Decoder of gzip and deflate: zlib's format, or raw deflate data, which some programs send."""

    def __init__(self, name: str) -> None:
        self.has_ended = False
        self.needs_input = True
        self._name = name
        self._unread = b""
        self._inner = zlib.decompressobj(GZIP) if name == "gzip" else None

    def decode(self, data: bytes, most: int) -> bytes:
        data = self._unread + data
        if self._inner is None:
            if len(data) < 2:  # noqa: PLR2004 - the size of zlib's header
                self._unread = data
                return b""
            self._inner = zlib.decompressobj(zlib.MAX_WBITS if _is_zlib(data) else -zlib.MAX_WBITS)
        if self.has_ended and data:
            raise _wrong(self._name)
        try:
            decoded = self._inner.decompress(data, most)
        except zlib.error as error:
            raise _wrong(self._name) from error
        self._unread, self.has_ended = self._inner.unconsumed_tail, self._inner.eof
        if self._inner.unused_data:
            raise _wrong(self._name)
        self.needs_input = not self._unread and len(decoded) < most
        return decoded


class _Zstd:
    """Decoder of zstd."""

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
