"""HTTP/1.1 messages of a client: one request on a connected socket, and its response.

Owns their bytes and the bounds of what is read; knows no address and no localrun. A body ends by
its length, by its last chunk, or with the connection. The standard library's client does the same
and imports ``email`` and ``ssl``, which takes longer than a whole command.
"""

from __future__ import annotations

from io import BufferedReader
from typing import TYPE_CHECKING

from localrun.client.receiving import ReceivedStream

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

MAX_LINE_BYTES = 64 * 1024  # of a head
MAX_LINES = 100
MAX_BODY_BYTES = 64 * 1024 * 1024  # also of one line of a stream
MAX_CHUNK_DIGITS = 16
PIECE_BYTES = 64 * 1024
CONTINUE, NO_CONTENT, NOT_MODIFIED, MAX_STATUS = 100, 204, 304, 599
HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")


class ProtocolError(Exception):
    """The bytes of the other side are not an HTTP response, or end before its end."""


def send_request(
    connection: socket.socket,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes | None,
) -> None:
    """Send a request with one system call, if it fits the buffer of the socket.

    Raises:
        OSError: the connection is lost.
        ValueError: a header has a character that it must not have.
    """
    lengths = {} if body is None else {"Content-Length": str(len(body))}
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in {**headers, **lengths}.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header has a line break")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    connection.sendall(head + (body or b""))


class ServerResponse:
    """ServerResponse on a connection, which it owns: status and headers at once, then the body.

    Raises:
        ConnectionResetError: the connection was closed before the first byte.
        ProtocolError: the bytes are not an HTTP response.
        OSError: the connection is lost, or nothing arrives in time.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = ReceivedStream(connection)
        self._stream: BufferedReader = BufferedReader(self._received)
        try:
            self.status = CONTINUE
            while self.status == CONTINUE:
                self.status, self.reason = _read_status(self._stream)
                self.headers = _read_headers(self._stream)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, which ends a response that has not ended."""
        self._stream.close()
        self._connection.close()

    def wait_for_ever(self) -> None:
        """Read the body without a limit of time from now on."""
        self._received.timeout_s = None

    def read(self) -> bytes:
        """Return the whole body.

        Raises:
            ProtocolError: the body ends early, or is longer than `MAX_BODY_BYTES`.
            OSError: the connection is lost, or nothing arrives in time.
        """
        body = bytearray()
        for piece in self._pieces():
            body += piece
            _check_size(body)
        return bytes(body)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of the body as they arrive, without their ends.

        Raises:
            ProtocolError: the body ends early, or a line is longer than `MAX_BODY_BYTES`.
            OSError: the connection is lost, or nothing arrives in time.
        """
        line = bytearray()  # that has not ended
        for piece in self._pieces():
            *ends, begin = piece.split(b"\n")
            for end in ends:
                yield bytes(line + end)
                line.clear()
            line += begin
            _check_size(line)
        if line:
            yield bytes(line)

    def _pieces(self) -> Iterator[bytes]:
        """Yield the bytes of the body as they arrive."""
        if self.status in {NO_CONTENT, NOT_MODIFIED}:
            return
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks()
        elif "content-length" in self.headers:
            yield from self._exactly(_number(self.headers["content-length"]))
        else:
            while piece := self._stream.read1(PIECE_BYTES):
                yield piece

    def _chunks(self) -> Iterator[bytes]:
        while num_bytes := _chunk_size(_read_line(self._stream)):
            yield from self._exactly(num_bytes)
            if _read_line(self._stream):
                raise ProtocolError("a chunk is longer than announced")
        _read_headers(self._stream)  # trailers

    def _exactly(self, num_bytes: int) -> Iterator[bytes]:
        while num_bytes:
            piece = self._stream.read1(min(num_bytes, PIECE_BYTES))
            if not piece:
                raise ProtocolError("the response ends before its end")
            num_bytes -= len(piece)
            yield piece


def _read_status(stream: BufferedReader) -> tuple[int, str]:
    line = stream.readline(MAX_LINE_BYTES)
    if not line:
        raise ConnectionResetError("the connection was closed before a response")
    version, _, rest = line.strip().partition(b" ")
    code, _, reason = rest.partition(b" ")
    if version not in VERSIONS or not code.isdigit() or not CONTINUE <= int(code) <= MAX_STATUS:
        raise ProtocolError("the first line is not that of an HTTP response")
    return int(code), reason.decode("latin-1")


def _read_headers(stream: BufferedReader) -> dict[str, str]:
    """Return the header lines up to the empty line, by their names in lower case."""
    headers: dict[str, str] = {}
    for _ in range(MAX_LINES):
        line = _read_line(stream)
        if not line:
            return headers
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    raise ProtocolError("the response has too many header lines")


def _read_line(stream: BufferedReader) -> bytes:
    """Return one line of a head without its end.

    Raises:
        ProtocolError: the line is too long, or the connection was closed.
    """
    line = stream.readline(MAX_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise ProtocolError("the response ends before its end, or has a line without one")
    return line.rstrip(b"\r\n")


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not 0 < len(digits) <= MAX_CHUNK_DIGITS or not HEX_DIGITS.issuperset(digits):
        raise ProtocolError("a chunk has no size")
    return int(digits, 16)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_CHUNK_DIGITS):
        raise ProtocolError("Content-Length is not a number")
    return int(text)


def _check_size(received: bytearray) -> None:
    if len(received) > MAX_BODY_BYTES:
        raise ProtocolError("the response is too long")
