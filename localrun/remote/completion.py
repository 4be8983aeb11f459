"""Request of a completion for an engine: which route, and the body without the model's id.

The id belongs to an address, so it is added when one is chosen. Whatever the route cannot carry is
refused here by name, before anything is sent.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.chat.media_marks import MEDIA
from localrun.remote.fields import EngineFields
from localrun.remote.messages import engine_messages
from localrun.remote.model import EngineKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localrun.remote.model import RemoteAddress, RemoteTarget
    from localrun.runner.messages import Generation, JsonObject

CHAT, TEXT = "chat/completions", "completions"
CHOICES = ("auto", "none", "required")
BLOCK = 2048  # characters of a text that are one part of its prefix
MAX_BLOCKS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCompletion:
    """A completion that an engine is asked for."""

    target: RemoteTarget
    path: str  # `CHAT` or `TEXT`
    fields: bytes = field(repr=False)  # the body, without its opening brace and the model's id
    prefixes: tuple[bytes, ...] = ()  # hashes of the prompt's prefixes, the longest last
    echo: str | None = field(default=None, repr=False)  # the prompt, if the answer repeats it
    keeps_thoughts: bool = False  # in the text, with their tags
    most_calls: int | None = None  # of tools; None: any number
    is_background: bool = False  # gives way to others

    @property
    def is_chat(self) -> bool:
        """Return whether the prompt is a conversation."""
        return self.path == CHAT

    def body_for(self, address: RemoteAddress) -> bytes:
        """Return the body for one address."""
        return b'{"model": ' + json.dumps(address.model).encode() + b", " + self.fields


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionOptions:
    """Options of a request with the defaults of the recipe."""

    sampling: JsonObject  # what the request and the recipe set, and nothing else
    num_predict: int | None = None  # None: until the engine's context is full
    stop: tuple[str, ...] = ()
    keeps_thoughts: bool = False
    is_background: bool = False


def remote_completion(
    target: RemoteTarget, generation: Generation, options: CompletionOptions
) -> RemoteCompletion:
    """Return the request for an engine; costs the length of the prompt.

    Raises:
        UsageError: the engine cannot do what the request states; the error names the field.
    """
    fields = EngineFields(target.name, target.model)
    _refuse_tokens(fields, generation)
    messages = generation.prompt.messages
    is_chat = messages is not None
    body: JsonObject = {
        "stream": True,
        "stream_options": {"include_usage": True},
        **fields.sampling(options.sampling),
        **fields.length(options.num_predict, is_chat=is_chat),
        **fields.constraint(generation.constraint),
    }
    if options.stop:
        body["stop"] = list(options.stop)
    if generation.prediction is not None:
        body["prediction"] = {"type": "content", "content": generation.prediction}
    if messages is None:
        body |= _text_fields(fields, generation)
    else:
        body |= _chat_fields(fields, generation, messages)
    shares = len(target.model.addresses) > 1
    return RemoteCompletion(
        target=target,
        path=CHAT if is_chat else TEXT,
        fields=json.dumps(body, ensure_ascii=False).encode(errors="replace")[1:],
        prefixes=_prefixes(messages, generation.prompt.text) if shares else (),
        echo=generation.prompt.text if generation.echo else None,
        keeps_thoughts=options.keeps_thoughts,
        most_calls=None if generation.parallel_tool_calls else 1,
        is_background=options.is_background and target.model.engine is EngineKind.LOCALRUN,
    )


def _refuse_tokens(fields: EngineFields, generation: Generation) -> None:
    """Refuse what an engine of another vocabulary and another template cannot be asked."""
    if generation.prompt_tokens:
        raise fields.refused("prompt", why="token ids belong to another vocabulary; send text")
    if generation.prompt.media:
        raise fields.refused("prompt", why="media go to an engine in messages only")
    if generation.context:
        raise fields.refused("context", why="token ids belong to another vocabulary; send messages")
    if generation.echo and generation.logprobs is not None:
        raise fields.refused("echo", why="the engine scores no tokens of a prompt")
    if generation.prompt.chat_template is not None:
        raise fields.refused("template", why="the engine has its own chat template")


def _chat_fields(
    fields: EngineFields, generation: Generation, messages: Sequence[JsonObject]
) -> JsonObject:
    prompt = generation.prompt
    is_open = bool(messages) and messages[-1].get("role") == "assistant"
    body: JsonObject = {
        "messages": engine_messages(messages),
        **fields.thinking(prompt.template_options, generation.thinking_budget),
        **fields.prompt_end(
            adds_prompt=prompt.add_generation_prompt,
            continues=prompt.continue_final_message and is_open,
        ),
    }
    if prompt.tools:
        choice = generation.tool_choice
        named = {"type": "function", "function": {"name": choice}}
        body["tools"] = list(prompt.tools)
        body["tool_choice"] = choice if choice in CHOICES else named
        if not generation.parallel_tool_calls:
            body["parallel_tool_calls"] = False
    if generation.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": generation.logprobs}
    return body


def _text_fields(fields: EngineFields, generation: Generation) -> JsonObject:
    body: JsonObject = {"prompt": generation.prompt.text}
    if generation.suffix is not None:
        if fields.kind is EngineKind.LLAMA_SERVER:
            raise fields.refused("suffix")
        body["suffix"] = generation.suffix
    if generation.logprobs is not None:
        body["logprobs"] = generation.logprobs
    return body


def _prefixes(messages: Sequence[JsonObject] | None, text: str) -> tuple[bytes, ...]:
    """Return hashes of the prefixes that another request may share, the longest last.

    System messages alone are no prefix: many conversations begin with the same.
    """
    digest = hashlib.blake2b(digest_size=16)
    if messages is None:
        return tuple(_block_hashes(digest, text))
    hashes: list[bytes] = []
    for message in messages:
        media = [hashlib.sha256(each["data"]).hexdigest() for each in message.get(MEDIA) or ()]
        parts = (message.get("role"), message.get("content"), message.get("tool_calls"), media)
        digest.update(json.dumps(parts).encode())
        if message.get("role") != "system":
            hashes.append(digest.copy().digest())
    return tuple(hashes[-MAX_BLOCKS:])


def _block_hashes(digest: hashlib.blake2b, text: str) -> Iterator[bytes]:
    for start in range(0, min(len(text), BLOCK * MAX_BLOCKS), BLOCK):
        digest.update(text[start : start + BLOCK].encode(errors="replace"))
        yield digest.copy().digest()
