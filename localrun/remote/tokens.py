"""Number of tokens of a conversation, of engines that count.

localrun       /v1/tokenize with messages
vllm           /tokenize with messages, beside /v1
llama-server   /apply-template, then /tokenize of the text
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from localrun.remote.errors import malformed
from localrun.remote.fields import EngineFields
from localrun.remote.messages import engine_messages
from localrun.remote.model import EngineKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.remote.engines import RemoteEngines
    from localrun.remote.model import RemoteAddress, RemoteModel, RemoteTarget
    from localrun.runner.messages import JsonObject

VERSION = "/v1"
LARGEST_COUNT = 1 << 31


async def count_tokens(
    engines: RemoteEngines,
    target: RemoteTarget,
    messages: Sequence[JsonObject],
    tools: Sequence[JsonObject],
) -> int:
    """Return the number of tokens of a prompt.

    Raises:
        UsageError: the engine cannot count.
        LocalrunError: no engine answers, or it refuses or fails.
    """
    kind = target.model.engine
    fields: JsonObject = {"messages": engine_messages(messages)}
    if tools:
        fields["tools"] = list(tools)
    if kind is EngineKind.LOCALRUN:
        answer = await _asked(engines, target, target.model, "tokenize", fields)
        return _count(target, answer, "count")
    if kind is EngineKind.VLLM:
        answer = await _asked(engines, target, _beside(target.model), "tokenize", fields)
        return _count(target, answer, "count")
    if kind is not EngineKind.LLAMA_SERVER:
        raise EngineFields(target.name, target.model).refused(
            "messages", why=f"its tokens are not counted: the engine ({kind}) has no route for it"
        )
    root = _beside(target.model)
    prompt = await _asked(engines, target, root, "apply-template", fields)
    text = prompt.get("prompt") if isinstance(prompt, dict) else None
    asked = {"content": text, "add_special": True, "parse_special": True}
    return _count(target, await _asked(engines, target, root, "tokenize", asked), "tokens")


async def _asked(
    engines: RemoteEngines,
    target: RemoteTarget,
    model: RemoteModel,
    path: str,
    fields: JsonObject,
) -> Any:  # noqa: ANN401 - any JSON
    def body_for(address: RemoteAddress) -> bytes:
        return json.dumps({"model": address.model, **fields}).encode()

    return await engines.ask(target.name, model, target.key, path, body_for)


def _beside(model: RemoteModel) -> RemoteModel:
    """Return the model at the addresses beside their version."""
    addresses = (replace(each, url=each.url.removesuffix(VERSION)) for each in model.addresses)
    return replace(model, addresses=tuple(addresses))


def _count(target: RemoteTarget, answer: object, field: str) -> int:
    value = answer.get(field) if isinstance(answer, dict) else None
    count = len(value) if isinstance(value, list) else value
    if type(count) is not int or not 0 <= count < LARGEST_COUNT:
        raise malformed(target.name, target.model.first, "counts tokens in another format")
    return count
