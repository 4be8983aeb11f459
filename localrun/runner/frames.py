"""Frames of messages on a stream socket: u32 little-endian length, then msgpack of [name, fields].

Owns the encoding, not the meaning of the messages. The types of the message classes drive the
decoder; fields of type ``JsonObject`` become dicts and lists, because templates add to lists.
Invariant: a frame longer than `LARGEST_FRAME` is refused before its payload is read.
"""

from __future__ import annotations

import struct
from dataclasses import asdict
from typing import TYPE_CHECKING

import msgspec

from localrun.errors import BackendError
from localrun.runner import messages

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

Message = messages.Request | messages.Event

LENGTH = struct.Struct("<I")
LARGEST_FRAME = 64 * 1024 * 1024
TYPES: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        messages.Load,
        messages.Generate,
        messages.Cancel,
        messages.Tokenize,
        messages.Detokenize,
        messages.LoadProgress,
        messages.Ready,
        messages.LoadFailed,
        messages.WorkerLost,
        messages.Started,
        messages.Step,
        messages.Finished,
        messages.Failed,
        messages.Tokens,
        messages.MemoryChanged,
        messages.ProjectorUse,
        messages.Embed,
        messages.Rerank,
        messages.Embeddings,
        messages.Ranks,
        messages.Count,
        messages.Counts,
        messages.Ping,
        messages.Pong,
        messages.Stats,
    )
}
WIDE_INTEGER = 1  # type of msgpack's extension for an integer of more than 64 bits, in decimal


class FrameTooLargeError(BackendError):
    """A message has more bytes than a frame."""


def encode(message: Message, *, unicode_errors: str = "strict") -> bytes:
    """Return the whole frame of a message.

    ``unicode_errors`` is that of ``str.encode``, for text with lone surrogates.

    Raises:
        FrameTooLargeError: the frame is longer than `LARGEST_FRAME`.
        ValueError: a value cannot be encoded.
    """
    name = type(message).__name__
    try:
        payload = _ENCODER.encode((name, message))
    except (OverflowError, UnicodeEncodeError):  # rare, so only then is the message copied
        payload = _ENCODER.encode((name, _encodable(asdict(message), unicode_errors)))
        _check(payload)
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error
    if len(payload) > LARGEST_FRAME:
        raise FrameTooLargeError(
            f"it has {len(payload)} bytes, a message between server and runner at most"
            f" {LARGEST_FRAME}"
        )
    return LENGTH.pack(len(payload)) + payload


def decode(payload: bytes) -> Message:
    """Return the message of a frame's payload.

    Raises:
        BackendError: the payload is not a message.
    """
    try:
        name, fields = _ENVELOPE.decode(payload)
        return _DECODERS[name].decode(fields)
    except (msgspec.MsgspecError, ValueError, KeyError, RecursionError) as error:
        raise BackendError(f"a runner's message cannot be read: {error}") from error


def _check(payload: bytes) -> None:
    """Check that the receiver can decode a payload: wide integers are for fields of JSON only."""
    try:
        decode(payload)
    except BackendError as error:
        raise ValueError(error.message) from error


def read_messages(sock: socket.socket, head: bytes = b"") -> Iterator[Message]:
    """Yield messages until the other side closes; blocks.

    ``head`` is what was read of the first frame's length already.

    Raises:
        BackendError: a frame is too long or cannot be read.
    """
    with sock.makefile("rb") as stream:
        while len(head := head + stream.read(LENGTH.size - len(head))) == LENGTH.size:
            (length,), head = LENGTH.unpack(head), b""
            if length > LARGEST_FRAME:
                raise BackendError(f"a message of {length} bytes is too large")
            payload = stream.read(length)
            if len(payload) < length:
                return
            yield decode(payload)


def _encodable(value: object, unicode_errors: str) -> object:
    """Return a copy in which each integer fits msgpack, and each text has a form in UTF-8."""
    match value:
        case str():
            return value.encode(errors=unicode_errors).decode()
        case int() if not -(2**63) <= value < 2**64:
            return msgspec.msgpack.Ext(WIDE_INTEGER, str(value).encode())
        case dict():
            return {
                _encodable(key, unicode_errors): _encodable(item, unicode_errors)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_encodable(item, unicode_errors) for item in value]
        case _:
            return value


def _wide_integer(code: int, digits: memoryview) -> int:
    if code != WIDE_INTEGER:
        raise ValueError(f"there is no extension {code}")
    return int(bytes(digits))


_ENCODER = msgspec.msgpack.Encoder()
_ENVELOPE = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_DECODERS: dict[str, msgspec.msgpack.Decoder[Message]] = {
    name: msgspec.msgpack.Decoder(kind, ext_hook=_wide_integer) for name, kind in TYPES.items()
}
