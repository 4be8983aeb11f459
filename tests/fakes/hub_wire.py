"""Requests, replies and ranges of a fake hub, and how a reply goes out, right or wrong.

A reply is a status, headers and a half-open interval of some bytes, which are in
memory or on disk; bytes on disk go out by ``sendfile``.
"""

from __future__ import annotations

import json
import re
import select
import socket
import struct
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.faults import Fault, FaultKind

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from email.message import Message

    from tests.fakes.hub_stock import StoredFile

MIB = 1024 * 1024
DRIPS_PER_S = 20
GARBAGE = b"<html><body>The captive portal of the hotel</body></html>"
RANGE = re.compile(r"bytes=(\d*)-(\d*)")

Range = tuple[int, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asked; ``range`` is as in the header: both ends count, None is the end.

    ``bytes=-5``, the last five, is (-5, None).
    """

    method: str
    path: str  # with the query
    range: Range | None
    headers: Message  # finds a name in any case
    origin: Literal["hub", "cdn"] = "hub"
    body: bytes = b""

    @property
    def plain_path(self) -> str:
        return unquote(urlsplit(self.path).path)

    @property
    def query(self) -> dict[str, str]:
        return {key: values[-1] for key, values in parse_qs(urlsplit(self.path).query).items()}

    @property
    def token(self) -> str:
        """Return the token of the Authorization header, "" for none."""
        return str(self.headers.get("Authorization", "")).removeprefix("Bearer ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the hub answers: the bytes from ``start`` to ``stop``, the end excluded."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Path = b""
    start: int = 0
    stop: int = 0
    size: int = 0  # of the whole body
    is_file: bool = False
    name: str = ""

    @property
    def is_part(self) -> bool:
        return self.status == 206


class Refusal(Exception):  # noqa: N818 an answer, not a fault
    """An answer that is no success, from wherever it is known."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def parse_range(header: str | None) -> Range | None:
    """Return the one range of a header; None for none, several, or nonsense."""
    match = RANGE.fullmatch((header or "").replace(" ", ""))
    if not match or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return -int(last), None
    return int(first), int(last) if last else None


def json_reply(data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Return the data as JSON."""
    body = json.dumps(data).encode()
    said = {"Content-Type": "application/json; charset=utf-8"} | (headers or {})
    return Reply(status=status, headers=said, body=body, stop=len(body), size=len(body))


def file_reply(request: Request, file: StoredFile, *, etag: str, name: str = "") -> Reply:
    """Return the file, a part of it, 304 or 416, as the headers of the request ask."""
    content = file.content
    modified = formatdate(file.modified_s, usegmt=True) if file.modified_s else None
    headers = {"Accept-Ranges": "bytes"} | ({"Last-Modified": modified} if modified else {})
    headers |= {"Content-Type": "application/octet-stream"} | ({"ETag": etag} if etag else {})
    known = [tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")]
    if etag and (etag in known or "*" in known):
        return Reply(status=304, headers=headers)
    whole = Reply(
        headers=headers,
        body=content.data,
        stop=content.size,
        size=content.size,
        is_file=True,
        name=name or file.path,
    )
    if_range = request.headers.get("If-Range")
    is_same = if_range in {None, modified} or (if_range == etag and not etag.startswith("W/"))
    return _part(whole, request.range) if request.range and is_same else whole


def spoil(reply: Reply, fault: Fault | None) -> Reply:
    """Return the reply as the fault makes it, for all that can be told before it is sent."""
    change = SPOILERS.get(fault.kind) if fault else None
    return change(reply, fault) if change and fault else reply


def send_body(
    sock: socket.socket, reply: Reply, fault: Fault | None, closing: threading.Event
) -> bool:
    """Send the body, as the fault wants it; False when the connection must now be closed."""
    match fault:
        case Fault(kind=FaultKind.DRIP):
            return _drip(sock, reply, fault.amount, closing)
        case Fault(kind=FaultKind.FLIP):
            for body, start, stop in _flipped(reply, fault):
                _send(sock, body, start, stop)
            return True
        case Fault(kind=FaultKind.CUT | FaultKind.STALL):
            _send(sock, reply.body, reply.start, min(reply.start + fault.amount, reply.stop))
            if fault.kind is FaultKind.STALL:
                select.select([sock], [], [])  # until the client leaves or the hub shuts it
            elif fault.reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
    _send(sock, reply.body, reply.start, reply.stop)
    return fault is None or fault.kind is not FaultKind.LENGTH


def _part(whole: Reply, asked: Range) -> Reply:
    first, last = asked
    start = max(whole.size + first, 0) if first < 0 else first
    if start >= whole.size or (last is not None and last < start):
        return Reply(status=416, headers={"Content-Range": f"bytes */{whole.size}"})
    stop = whole.size if last is None else min(last + 1, whole.size)
    return _interval(replace(whole, status=206), start, stop)


def _interval(reply: Reply, start: int, stop: int) -> Reply:
    said = {"Content-Range": f"bytes {start}-{stop - 1}/{reply.size}"}
    return replace(reply, headers=reply.headers | said, start=start, stop=stop)


def _send(sock: socket.socket, body: bytes | Path, start: int, stop: int) -> None:
    if stop <= start:
        return
    if isinstance(body, Path):
        with body.open("rb") as file:
            sock.sendfile(file, start, stop - start)
        return
    view = memoryview(body)[:stop]
    for at in range(start, stop, MIB):
        sock.sendall(view[at : at + MIB])


def _drip(sock: socket.socket, reply: Reply, bytes_per_s: int, closing: threading.Event) -> bool:
    step = max(bytes_per_s // DRIPS_PER_S, 1)
    for at in range(reply.start, reply.stop, step):
        _send(sock, reply.body, at, min(at + step, reply.stop))
        if closing.wait(step / bytes_per_s):
            return False
    return True


def _flipped(reply: Reply, fault: Fault) -> Iterator[tuple[bytes | Path, int, int]]:
    start = min(max(fault.amount, reply.start), reply.stop)
    stop = min(max(fault.amount + fault.num_bytes, start), reply.stop)
    yield reply.body, reply.start, start
    yield bytes(byte ^ 0xFF for byte in _read(reply.body, start, stop)), 0, stop - start
    yield reply.body, stop, reply.stop


def _read(body: bytes | Path, start: int, stop: int) -> bytes:
    if isinstance(body, bytes):
        return body[start:stop]
    with body.open("rb") as file:
        file.seek(start)
        return file.read(stop - start)


def _ignoring_ranges(reply: Reply, _fault: Fault) -> Reply:
    headers = {name: value for name, value in reply.headers.items() if "-Range" not in name}
    return replace(reply, status=200, headers=headers, start=0, stop=reply.size)


def _shifted(reply: Reply, fault: Fault) -> Reply:
    start = min(max(reply.start + fault.amount, 0), reply.stop - 1)
    return _interval(reply, start, reply.stop)


def _with_status(_reply: Reply, fault: Fault) -> Reply:
    wait = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
    return Reply(status=fault.amount, headers=wait)


def _garbage(_reply: Reply, _fault: Fault) -> Reply:
    return Reply(headers={"Content-Type": "text/html"}, body=GARBAGE, stop=len(GARBAGE))


SPOILERS: dict[FaultKind, Callable[[Reply, Fault], Reply]] = {
    FaultKind.EMPTY: lambda reply, _: replace(reply, stop=reply.start),
    FaultKind.ETAG: lambda reply, fault: replace(
        reply, headers=reply.headers | {"ETag": fault.target}
    ),
    FaultKind.EXPIRE: lambda _, __: Reply(status=403),
    FaultKind.GARBAGE: _garbage,
    FaultKind.IGNORE_RANGES: _ignoring_ranges,
    FaultKind.REDIRECT: lambda _, fault: Reply(status=302, headers={"Location": fault.target}),
    FaultKind.STATUS: _with_status,
    FaultKind.WRONG_RANGE: _shifted,
}
