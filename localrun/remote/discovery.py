"""What an engine says about itself: its kind, its models and their contexts (``/models``)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from localrun.errors import LocalrunError
from localrun.remote.engines import RemoteEngines
from localrun.remote.errors import malformed
from localrun.remote.http import EngineHttp
from localrun.remote.model import (
    KNOWN_CAPABILITIES,
    LARGEST_CONTEXT,
    LONGEST_MODEL,
    EngineKind,
    checked_capabilities,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localrun.remote.model import RemoteAddress

MAX_MODELS = 10_000
OWNERS = {  # owned_by of a model
    "vllm": EngineKind.VLLM,
    "sglang": EngineKind.SGLANG,
    "llamacpp": EngineKind.LLAMA_SERVER,
    "localrun": EngineKind.LOCALRUN,
    "openai": EngineKind.OPENAI,
    "system": EngineKind.OPENAI,
}
TGI_NAMES = ("text-generation-inference", "huggingface")


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedModel:
    """A model of an engine."""

    id: str
    context_length: int | None
    engine: EngineKind
    capabilities: tuple[str, ...] | None = None  # if the engine says them


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressReport:
    """What one address answered, or why it did not."""

    address: RemoteAddress
    seconds: float
    models: tuple[OfferedModel, ...] = ()
    error: LocalrunError | None = None

    @property
    def offered(self) -> OfferedModel | None:
        """Return the model of the address, or None if the engine does not list it."""
        wanted = {self.address.model, f"{self.address.model}:latest"}
        return next((model for model in self.models if model.id in wanted), None)


def ask_addresses(
    name: str,
    addresses: Sequence[RemoteAddress],
    key: str | None,
    environ: Mapping[str, str],
    *,
    is_offline: bool,
) -> list[AddressReport]:
    """Ask all addresses for their models at once; blocks for some seconds at most."""

    async def ask_all() -> list[AddressReport]:
        engines = RemoteEngines(EngineHttp(environ, is_offline=is_offline))
        try:
            return await asyncio.gather(
                *(_report(engines, name, address, key) for address in addresses)
            )
        finally:
            await engines.close()

    return asyncio.run(ask_all())


def offered_models(answer: Any, name: str, address: RemoteAddress) -> tuple[OfferedModel, ...]:  # noqa: ANN401 - any JSON
    """Return the models in an answer.

    Raises:
        RemoteEngineError: the answer is no list of models.
    """
    items = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(items, list):
        raise malformed(name, address, "does not list its models; is it OpenAI's API?")
    models = [_offered(item) for item in items[:MAX_MODELS] if isinstance(item, dict)]
    return tuple(model for model in models if model is not None)


async def _report(
    engines: RemoteEngines, name: str, address: RemoteAddress, key: str | None
) -> AddressReport:
    begun_s = time.monotonic()
    try:
        answer = await engines.models_of(name, address, key)
        models = offered_models(answer, name, address)
        models = await _with_details(engines, name, address, key, models)
    except LocalrunError as error:
        return AddressReport(address=address, seconds=time.monotonic() - begun_s, error=error)
    return AddressReport(address=address, seconds=time.monotonic() - begun_s, models=models)


async def _with_details(
    engines: RemoteEngines,
    name: str,
    address: RemoteAddress,
    key: str | None,
    models: tuple[OfferedModel, ...],
) -> tuple[OfferedModel, ...]:
    """Return the models with what only localrun says of each: ``/api/tags`` beside ``/v1``."""
    root = address.url.removesuffix("/v1")
    if root == address.url or not any(each.engine is EngineKind.LOCALRUN for each in models):
        return models
    try:
        answer = await engines.get(name, replace(address, url=f"{root}/api"), key, "tags")
        known = {each["name"].removesuffix(":latest"): each for each in answer["models"]}
        return tuple(_detailed(model, known.get(model.id, {})) for model in models)
    except (LocalrunError, KeyError, TypeError, AttributeError):
        return models  # an older localrun, or a proxy in front of one


def _detailed(model: OfferedModel, tag: Mapping[str, Any]) -> OfferedModel:
    stated = [each for each in tag.get("capabilities", ()) if each in KNOWN_CAPABILITIES]
    length = tag.get("details", {}).get("context_length")
    is_length = type(length) is int and 0 < length <= LARGEST_CONTEXT
    return replace(
        model,
        capabilities=checked_capabilities(stated) if stated else None,
        context_length=length if is_length else model.context_length,
    )


def _offered(item: Mapping[str, Any]) -> OfferedModel | None:
    model = item.get("id")
    if not isinstance(model, str) or not 0 < len(model) <= LONGEST_MODEL or not model.isprintable():
        return None
    meta = item.get("meta")
    lengths = [
        item.get(key)
        for key in ("max_model_len", "context_length", "context_window", "max_context")
    ]
    if isinstance(meta, dict):
        lengths += [meta.get("n_ctx"), meta.get("n_ctx_train")]
    known = (each for each in lengths if type(each) is int and 0 < each <= LARGEST_CONTEXT)
    return OfferedModel(id=model, context_length=next(known, None), engine=_kind(item))


def _kind(item: Mapping[str, Any]) -> EngineKind:
    owner = str(item.get("owned_by", ""))[:100].lower()
    if any(name in owner for name in TGI_NAMES):
        return EngineKind.TGI
    return OWNERS.get(owner, EngineKind.COMPATIBLE)
