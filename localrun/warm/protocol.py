"""What a thin client and a warm process say to each other over one Unix connection.

    worker   "H": it is here (files that are sent to a process that is stopped would stay open)
    client   8 bytes (magic, length), with its files as SCM_RIGHTS; then the request
    worker   "P" and its process id: the request is accepted; or "N": run it yourself
    client   "G": go (a client that gave up never sends it, and then nothing runs)
    worker   "E" and the exit code, when all its files are closed; or the warm process, when the
             worker has ended otherwise: "E", or "S" and the signal; or the worker "N", before it
             has done anything: run it yourself, on your terminal

One answer ends the exchange. Each end learns by the other's end that nobody waits any more.

Numbers are 4 bytes, big-endian, signed. The files are the working folder, stdin, stdout, stderr,
and at most one more, which becomes file descriptor 3. A request is the fields of `Request`,
joined by NUL, which no argument and no variable contains.

Imported by each command before anything else: no dataclass, no module that Python has not loaded.
"""

from __future__ import annotations

import os
import sys

from localrun import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

MAGIC: Final = b"LRW1"
MAX_REQUEST_BYTES: Final = 32 << 20  # Linux bounds arguments and environment together at 6 MiB
HEAD_BYTES: Final = 8
REPLY_BYTES: Final = 5
MAX_FILES: Final = 5  # folder, stdin, stdout, stderr, and a runner's socket
ACCEPTED, REFUSED, EXITED, KILLED = b"P", b"N", b"E", b"S"
HELLO: Final = b"H"
GO: Final = b"G"
EXTRA_FD: Final = 3  # of the file after stdin, stdout and stderr
COMMAND, RUNNER, JOB = "command", "runner", "job"  # a job outlives its connection
_NUM_FIELDS = 6  # before the arguments
_NUM_STREAMS, _NUM_PARTS = 3, 3


def build_id() -> str:
    """Return what client and warm process must have in common: the code and its interpreter."""
    return f"{__version__} {sys.version} {sys.prefix} {__file__}"


def locale_of_python() -> str:
    """Return how this interpreter encodes names and texts."""
    mode = "utf8" if sys.flags.utf8_mode else "locale"
    return f"{sys.getfilesystemencoding()}:{sys.getfilesystemencodeerrors()}:{mode}"


def reply(kind: bytes, number: int) -> bytes:
    """Return one reply of a worker or the warm process."""
    return kind + number.to_bytes(4, "big", signed=True)


def parse_reply(data: bytes) -> tuple[bytes, int]:
    """Return the kind and the number of a reply."""
    return data[:1], int.from_bytes(data[1:], "big", signed=True)


class Request:
    """One command to run: of a user, or a runner or a job of the server.

    ``streams`` are `locale_of_python`, then for stdin, stdout and stderr
    ``encoding:errors:N``, with 1 for a stream without buffer;
    ``ignored`` are the numbers of the signals that the command must ignore.
    """

    def __init__(
        self,
        kind: str,
        arguments: Sequence[bytes],
        environ: Mapping[bytes, bytes],
        umask: int,
        streams: Sequence[str],
        ignored: Sequence[int],
    ) -> None:
        self.kind = kind
        self.arguments = arguments
        self.environ = environ
        self.umask = umask
        self.streams = streams
        self.ignored = ignored

    def encode(self) -> bytes:
        """Return the request with its head."""
        fields = [
            build_id(),
            self.kind,
            str(self.umask),
            " ".join(self.streams),
            " ".join(map(str, self.ignored)),
            str(len(self.arguments)),
        ]
        variables = [name + b"=" + value for name, value in self.environ.items()]
        body = b"\0".join([*map(os.fsencode, fields), *self.arguments, *variables])
        return MAGIC + len(body).to_bytes(4, "big") + body


def body_length(head: bytes) -> int | None:
    """Return the length that a head announces, None if it is not one of this protocol."""
    length = int.from_bytes(head[4:], "big")
    is_ours = len(head) == HEAD_BYTES and head.startswith(MAGIC)
    return length if is_ours and length <= MAX_REQUEST_BYTES else None


def decode(body: bytes) -> Request | None:
    """Return the request of a body, None if it comes from another build or is damaged."""
    fields = body.split(b"\0")
    if fields[0] != os.fsencode(build_id()) or len(fields) < _NUM_FIELDS:
        return None
    try:
        return _decode(fields)
    except ValueError:
        return None


def _decode(fields: list[bytes]) -> Request | None:
    kind, umask, streams, ignored, num_arguments = map(os.fsdecode, fields[1:_NUM_FIELDS])
    rest = _NUM_FIELDS + int(num_arguments)
    request = Request(
        kind=kind,
        arguments=fields[_NUM_FIELDS:rest],
        environ=dict(_split(variable) for variable in fields[rest:]),
        umask=int(umask),
        streams=streams.split(" "),
        ignored=[int(number) for number in ignored.split()],
    )
    is_whole = _NUM_FIELDS < rest <= len(fields) and kind in {COMMAND, RUNNER, JOB}
    has_streams = len(request.streams) == _NUM_STREAMS + 1
    return request if is_whole and has_streams and all(map(_is_stream, request.streams)) else None


def _is_stream(description: str) -> bool:
    return len(description.split(":")) == _NUM_PARTS


def _split(variable: bytes) -> tuple[bytes, bytes]:
    name, is_set, value = variable.partition(b"=")
    if not name or not is_set:
        raise ValueError(variable)
    return name, value
