"""Messages on a stream socket: u32 little-endian length, then msgpack of [name, fields].

Knows the wire, not what the messages mean. A frame longer than `LARGEST_FRAME`
is refused before a byte of it is read.
"""

from __future__ import annotations

import struct
from dataclasses import asdict
from dataclasses import fields as fields_of
from typing import TYPE_CHECKING, Any

import msgpack

from localrun.engine.params import (
    ConstraintKind,
    ConstraintSpec,
    FinishReason,
    LoadOptions,
    OverflowPolicy,
    Pooling,
    SamplingParams,
)
from localrun.errors import BackendError
from localrun.runner import messages

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

LENGTH = struct.Struct("<I")
LARGEST_FRAME = 64 * 1024 * 1024
TYPES = {
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
        messages.Started,
        messages.Step,
        messages.Finished,
        messages.Failed,
        messages.Tokens,
        messages.MemoryChanged,
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
WIDE_INTEGER = 1  # msgpack's extension type
Message = messages.Request | messages.Event


class FrameTooLargeError(BackendError):
    """A message has more bytes than a frame."""


def encode(message: Message, *, unicode_errors: str = "strict") -> bytes:
    """Return the whole frame of a message.

    ``unicode_errors`` says what becomes of text that has no UTF-8 form, as in ``str.encode``.

    Raises:
        FrameTooLargeError: it is longer than `LARGEST_FRAME`.
        ValueError: it holds what has no form on the wire.
    """
    name = type(message).__name__
    payload: bytes = msgpack.packb(
        [name, _fields(message)], default=_wide, unicode_errors=unicode_errors
    )
    if len(payload) > LARGEST_FRAME:
        raise FrameTooLargeError(
            f"it has {len(payload)} bytes, a message between server and runner at most"
            f" {LARGEST_FRAME}"
        )
    return LENGTH.pack(len(payload)) + payload


def decode(payload: bytes) -> Message:
    """Return the message of a frame's payload.

    Raises:
        BackendError: not one of ours.
    """
    try:
        name, fields = msgpack.unpackb(
            payload, use_list=False, strict_map_key=False, ext_hook=_integer
        )
        return TYPES[name](**_typed(_with_prompt(fields, payload)))
    except (ValueError, KeyError, TypeError) as error:
        raise BackendError(f"a runner's message cannot be read: {error}") from error


def read_messages(sock: socket.socket) -> Iterator[Message]:
    """Yield messages until the other side closes; blocks.

    Raises:
        BackendError: a frame is too long or cannot be read.
    """
    with sock.makefile("rb") as stream:
        while len(head := stream.read(LENGTH.size)) == LENGTH.size:
            (length,) = LENGTH.unpack(head)
            if length > LARGEST_FRAME:
                raise BackendError(f"a message of {length} bytes is too large")
            payload = stream.read(length)
            if len(payload) < length:
                return
            yield decode(payload)


def _fields(message: Message) -> dict[str, Any]:
    """Return the fields, copied only where something is nested that msgpack cannot write."""
    if isinstance(message, messages.Step):  # the one that every token pays for
        fields: dict[str, Any] = {"deltas": message.deltas}
        return fields | {"scores": message.scores} if message.scores else fields
    if isinstance(message, messages.Embed):  # millions of token ids, maybe
        return {field.name: getattr(message, field.name) for field in fields_of(message)}
    return asdict(message)


def _wide(value: object) -> msgpack.ExtType:
    """Return an integer of more than 64 bits, which msgpack lacks and JSON has."""
    if not isinstance(value, int):
        raise TypeError(f"{type(value).__name__} cannot cross to a runner")
    return msgpack.ExtType(WIDE_INTEGER, str(value).encode())


def _integer(code: int, digits: bytes) -> int:
    if code != WIDE_INTEGER:
        raise ValueError(f"there is no extension {code}")
    return int(digits)


def _with_prompt(fields: Any, payload: bytes) -> dict[str, Any]:  # noqa: ANN401 - whatever came
    """Return the fields with their `PromptSpec`, whose JSON has lists: templates add to lists."""
    if not isinstance(fields, dict):
        raise TypeError("it has no fields")
    is_generation = "generation" in fields
    if not is_generation and not isinstance(fields.get("prompt"), dict):
        return fields
    _, listed = msgpack.unpackb(payload, strict_map_key=False, ext_hook=_integer)
    if not is_generation:
        return fields | {"prompt": _prompt(listed["prompt"])}
    generation = fields["generation"] | {"prompt": _prompt(listed["generation"]["prompt"])}
    return fields | {"generation": messages.Generation(**_typed(generation))}


def _prompt(fields: dict[str, Any]) -> messages.PromptSpec:
    """Return the prompt of JSON fields."""
    chat = None if fields["messages"] is None else tuple(fields["messages"])
    return messages.PromptSpec(**fields | {"messages": chat, "tools": tuple(fields["tools"])})


def _typed(fields: dict[str, Any]) -> dict[str, Any]:
    """Turn what msgpack made a map or a text back into its value type."""
    if isinstance(fields.get("sampling"), dict):
        fields["sampling"] = SamplingParams(**fields["sampling"])
    if isinstance(fields.get("options"), dict):
        fields["options"] = LoadOptions(**fields["options"])
    if isinstance(fields.get("overflow"), dict):
        fields["overflow"] = OverflowPolicy(**fields["overflow"])
    if isinstance(fields.get("constraint"), dict):
        spec = fields["constraint"]
        fields["constraint"] = ConstraintSpec(**spec | {"kind": ConstraintKind(spec["kind"])})
    if fields.get("pooling") is not None:
        fields["pooling"] = Pooling(fields["pooling"])
    if "reason" in fields:
        fields["reason"] = FinishReason(fields["reason"])
    return fields
