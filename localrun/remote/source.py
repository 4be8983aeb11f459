"""Remote models in recipes: ``FROM remote+URL``.

    FROM remote+https://gpu1:8000/v1/Qwen/Qwen3-32B
    FROM remote+https://gpu1:8000/v1/Qwen/Qwen3-32B#key-file=/home/me/gpu1.key&engine=vllm
    FROM remote+http://10.0.0.7:9000/api#model=small&key-env=SMALL_KEY

What follows ``/v1/`` is the engine's id of the model; ``model=`` names it for other paths. The
fragment is for localrun and is never sent. Several FROM lines are several addresses of one model.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from localrun.errors import UsageError
from localrun.remote.model import (
    DEFAULT_CAPABILITIES,
    LONGEST_KEY_NAME,
    LONGEST_MODEL,
    LONGEST_URL,
    MAX_ADDRESSES,
    EngineKind,
    RemoteModel,
    checked_capabilities,
    checked_variable,
    remote_address,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.remote.model import RemoteAddress

PREFIX = "remote+"
BEFORE_MODEL = "/v1/"
OPTIONS = ("model", "key-file", "key-env", "engine", "capabilities", "context")
LONGEST = LONGEST_URL + LONGEST_MODEL + LONGEST_KEY_NAME + 500
MAX_DIGITS = 10
EXAMPLE = "FROM remote+https://HOST:PORT/v1/MODEL"


def is_remote_source(text: str) -> bool:
    """Return whether the operand of FROM means a remote model."""
    return text.startswith(PREFIX)


def parse_sources(sources: Sequence[str], folder: Path) -> RemoteModel:
    """Return the remote model of all FROM lines; key files are relative to ``folder``.

    Raises:
        UsageError: a line is malformed, means a model that is not remote, or contradicts another.
    """
    for source in sources:
        if not is_remote_source(source):
            raise UsageError(
                f"FROM {source[:200]} cannot be combined with a remote model",
                hint="a remote model has no weights, projectors or adapters here",
            )
    if len(sources) > MAX_ADDRESSES:
        raise UsageError(f"a remote model has at most {MAX_ADDRESSES} addresses")
    models = [_parse(source, folder) for source in sources]
    addresses = tuple(dict.fromkeys(model.first for model in models))
    merged = models[0]
    for model in models[1:]:
        merged = _merged(merged, model)
    return replace(merged, addresses=addresses)


def format_sources(model: RemoteModel) -> tuple[str, ...]:
    """Return the operands of FROM that `parse_sources` reads as this model."""
    options = _options_text(model)
    return tuple(
        _format(address, options if place == 0 else "")
        for place, address in enumerate(model.addresses)
    )


def parse_engine(text: str) -> EngineKind:
    """Return the kind of engine of a text.

    Raises:
        UsageError: no such kind is known.
    """
    try:
        return EngineKind(text)
    except ValueError as error:
        kinds = ", ".join(kind.value for kind in EngineKind)
        raise UsageError(f"not a kind of engine: {text[:100]!r}", hint=f"one of {kinds}") from error


def _parse(source: str, folder: Path) -> RemoteModel:
    if len(source) > LONGEST:
        raise UsageError(f"FROM {source[:100]}... is too long")
    url, _, fragment = source.removeprefix(PREFIX).partition("#")
    options = _options(fragment)
    base, model = url, options.pop("model", None)
    if model is None:
        base, mark, model = url.partition(BEFORE_MODEL)
        base += mark.rstrip("/")
        if not model:
            raise UsageError(f"FROM {source[:200]} names no model of the engine", hint=EXAMPLE)
        model = unquote(model)
    capabilities = options.get("capabilities")
    return RemoteModel(
        addresses=(remote_address(base, model),),
        key_file=_key_file(options.get("key-file"), folder),
        key_env=checked_variable(options["key-env"]) if "key-env" in options else None,
        engine=parse_engine(options.get("engine") or EngineKind.COMPATIBLE),
        capabilities=(
            DEFAULT_CAPABILITIES
            if capabilities is None
            else checked_capabilities(capabilities.split(","))
        ),
        context_length=_context(options.get("context")),
    )


def _options(fragment: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in fragment.split("&") if fragment else ():
        name, equals, value = pair.partition("=")
        if name not in OPTIONS or not equals or not value:
            raise UsageError(
                f"not an option of a remote model: {name[:100]!r}",
                hint=f"after the #: {', '.join(f'{option}=...' for option in OPTIONS)}",
            )
        if name in options:
            raise UsageError(f"the option {name} of a remote model is given twice")
        options[name] = unquote(value)
    if "key-file" in options and "key-env" in options:
        raise UsageError("a remote model has one key: key-file or key-env")
    return options


def _key_file(text: str | None, folder: Path) -> str | None:
    if text is None:
        return None
    if len(text) > LONGEST_KEY_NAME or not text.isprintable():
        raise UsageError("the name of the key file cannot be used")
    try:
        return str((folder / Path(text).expanduser()).absolute())
    except RuntimeError as error:
        raise UsageError(f"no such key file: {text}: the home folder is not known") from error


def _context(text: str | None) -> int | None:
    if text is None:
        return None
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    if not is_number or int(text) == 0:
        raise UsageError(f"context={text[:100]} is not a number of tokens")
    return int(text)


def _merged(one: RemoteModel, other: RemoteModel) -> RemoteModel:
    """Return the options of both lines; an option that a line leaves out is the other's."""
    plain = RemoteModel(addresses=one.addresses)
    changed: dict[str, object] = {}
    for name in ("key_file", "key_env", "engine", "capabilities", "context_length"):
        mine, theirs, default = (getattr(model, name) for model in (one, other, plain))
        if theirs != default and mine not in (default, theirs):
            raise UsageError(f"two FROM lines state different values of {name.replace('_', ' ')}")
        changed[name] = theirs if mine == default else mine
    merged = replace(one, **changed)  # type: ignore[arg-type] # values of these very fields
    if merged.key_file is not None and merged.key_env is not None:
        raise UsageError("a remote model has one key: key-file or key-env")
    return merged


def _options_text(model: RemoteModel) -> str:
    stated: dict[str, str | None] = {
        "key-file": model.key_file,
        "key-env": model.key_env,
        "engine": None if model.engine is EngineKind.COMPATIBLE else model.engine.value,
        "capabilities": (
            None if model.capabilities == DEFAULT_CAPABILITIES else ",".join(model.capabilities)
        ),
        "context": None if model.context_length is None else str(model.context_length),
    }
    return "&".join(
        f"{name}={quote(value, safe='/:,.~-_')}" for name, value in stated.items() if value
    )


def _format(address: RemoteAddress, options: str) -> str:
    mark = BEFORE_MODEL.rstrip("/")
    if address.url.endswith(mark) and address.url.count(mark) == 1:
        text = f"{PREFIX}{address.url}/{quote(address.model, safe='/:.~-_')}"
    else:
        named = f"model={quote(address.model, safe='/:.~-_')}"
        text, options = f"{PREFIX}{address.url}", f"{named}&{options}" if options else named
    return f"{text}#{options}" if options else text
