"""Remote model: the engine's addresses, its id of the model, and where its key is.

A model without weights: another engine answers, over OpenAI's API. The layer of a manifest is
canonical JSON. It names the key's file or variable and never has the key:

    {"addresses": [{"model": "Qwen/Qwen3-32B", "url": "https://gpu1:8000/v1"}],
     "capabilities": ["completion", "tools"], "context_length": 40960, "engine": "vllm",
     "key_file": "/home/me/gpu1.key"}
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

from localrun.errors import IntegrityError, UsageError

MAX_ADDRESSES = 32
LONGEST_URL = 2000
LONGEST_MODEL = 500
LONGEST_KEY_NAME = 4000
LARGEST_CONTEXT = 1 << 31
KNOWN_CAPABILITIES = (
    "completion", "tools", "thinking", "insert", "vision", "audio", "embedding", "rerank",
)  # fmt: skip
DEFAULT_CAPABILITIES = ("completion", "tools")
DEFAULT_PATH = "/v1"
SAFE_URL = re.compile(r"[\x21-\x5b\x5d-\x7e]+")  # printable ASCII, no backslash
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}", re.ASCII)


class EngineKind(StrEnum):
    """Program that answers, as far as it is known: it decides which fields a request may have."""

    COMPATIBLE = "compatible"  # unknown: OpenAI's fields, and those that most engines take
    OPENAI = "openai"  # OpenAI's own fields only; others are refused by the engine
    VLLM = "vllm"
    SGLANG = "sglang"
    TGI = "tgi"
    LLAMA_SERVER = "llama-server"
    LOCALRUN = "localrun"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteAddress:
    """Base URL of an engine's API, without a slash at its end, and its id of the model."""

    url: str
    model: str

    @property
    def host(self) -> str:
        """Return host and port, for messages."""
        return urlsplit(self.url).netloc

    @property
    def origin(self) -> str:
        """Return scheme, host and port: what a key belongs to."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def is_loopback(self) -> bool:
        """Return whether the engine is on this machine, by its address alone."""
        return is_loopback(urlsplit(self.url).hostname or "")

    @property
    def is_encrypted(self) -> bool:
        """Return whether the connection uses TLS."""
        return self.url.startswith("https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """Engines that answer under one name; each can take any request."""

    addresses: tuple[RemoteAddress, ...]  # at least one
    key_file: str | None = None  # absolute path on this machine
    key_env: str | None = None  # variable in the environment of the server
    engine: EngineKind = EngineKind.COMPATIBLE
    capabilities: tuple[str, ...] = DEFAULT_CAPABILITIES
    context_length: int | None = None  # tokens, if known

    @property
    def first(self) -> RemoteAddress:
        """Return the first address, which stands for all in lists."""
        return self.addresses[0]

    @property
    def key_reference(self) -> str | None:
        """Return where the key is, for people; None without a key."""
        if self.key_file is not None:
            return f"file {self.key_file}"
        return None if self.key_env is None else f"variable {self.key_env}"

    def to_json(self) -> dict[str, Any]:
        """Return the content of the layer."""
        known: dict[str, Any] = {
            "addresses": [{"url": each.url, "model": each.model} for each in self.addresses],
            "key_file": self.key_file,
            "key_env": self.key_env,
            "engine": self.engine.value,
            "capabilities": list(self.capabilities),
            "context_length": self.context_length,
        }
        return {name: value for name, value in known.items() if value is not None}

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of the layer."""
        value = self.to_json()
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, value: Any) -> Self:  # noqa: ANN401 - untrusted JSON
        """Parse the content of a layer; unknown fields of later versions are ignored.

        Raises:
            IntegrityError: it is malformed, or names an engine that this version does not know.
        """
        try:
            return cls(
                addresses=_addresses(value["addresses"]),
                key_file=_optional_text(value.get("key_file"), LONGEST_KEY_NAME),
                key_env=_optional_text(value.get("key_env"), LONGEST_KEY_NAME),
                engine=EngineKind(value.get("engine", EngineKind.COMPATIBLE)),
                capabilities=checked_capabilities(value.get("capabilities", DEFAULT_CAPABILITIES)),
                context_length=_optional_context(value.get("context_length")),
            )
        except UsageError as error:
            raise IntegrityError(f"a remote model is malformed: {error.message}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IntegrityError("a remote model is malformed") from error

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Parse a layer.

        Raises:
            IntegrityError: it is malformed.
        """
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise IntegrityError("a remote model is malformed") from error
        return cls.from_json(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTarget:
    """A remote model with its name here and its key."""

    name: str
    model: RemoteModel
    key: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTokens:
    """A conversation whose tokens an engine counts."""

    target: RemoteTarget
    messages: tuple[dict[str, Any], ...] = field(repr=False)
    tools: tuple[dict[str, Any], ...] = ()


def remote_address(url: str, model: str) -> RemoteAddress:
    """Return a checked address; a URL without a path gets `DEFAULT_PATH`.

    Raises:
        UsageError: the URL is none, has a login or a query, or the model's id is unusable.
    """
    shown = url.partition("?")[0][:200]
    if len(url) > LONGEST_URL or not SAFE_URL.fullmatch(url):
        raise UsageError(f"not an address of an engine: {shown!r}", hint="https://HOST:PORT/v1")
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise UsageError(f"not an address of an engine: {shown!r}") from error
    if parts.scheme not in {"http", "https"} or not has_host:
        raise UsageError(f"not an address of an engine: {shown!r}", hint="https://HOST:PORT/v1")
    _refuse_secrets(parts)
    if not model or len(model) > LONGEST_MODEL or not model.isprintable():
        raise UsageError(f"not the id of a model: {model[:200]!r}")
    path = parts.path.rstrip("/") or DEFAULT_PATH
    return RemoteAddress(url=f"{parts.scheme}://{parts.netloc}{path}", model=model)


def checked_capabilities(names: Any) -> tuple[str, ...]:  # noqa: ANN401 - untrusted JSON
    """Return capabilities in the order of `KNOWN_CAPABILITIES`.

    Raises:
        UsageError: one is unknown, or a model that embeds should write too.
    """
    stated = [str(name) for name in names][: len(KNOWN_CAPABILITIES) * 4]
    unknown = next((name for name in stated if name not in KNOWN_CAPABILITIES), None)
    if unknown is not None or not stated:
        known = ", ".join(KNOWN_CAPABILITIES)
        raise UsageError(f"not a capability: {(unknown or '')[:100]!r}", hint=f"one of {known}")
    vectors = {"embedding", "rerank"}.intersection(stated)
    if vectors and "completion" in stated:
        raise UsageError(f"a model with {min(vectors)} writes no text; leave completion out")
    return tuple(name for name in KNOWN_CAPABILITIES if name in stated)


def checked_variable(name: str) -> str:
    """Return the name of a variable with a key.

    Raises:
        UsageError: it is no name, such as the key itself; the error does not repeat it.
    """
    if not VARIABLE.fullmatch(name):
        raise UsageError(
            "--key-env takes the name of a variable, not a key", hint="--key-env GPU1_KEY"
        )
    return name


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine by its name or its address; looks nothing up."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    import ipaddress  # few commands need it

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_secrets(parts: SplitResult) -> None:
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"the address {parts.hostname} has a login, which would be stored",
            hint="--key-file FILE   names a file with the key",
        )
    if parts.query or parts.fragment:
        raise UsageError(
            f"the address {parts.hostname} has a query, which would be stored",
            hint="--key-file FILE   names a file with the key",
        )


def _addresses(value: Any) -> tuple[RemoteAddress, ...]:  # noqa: ANN401 - untrusted JSON
    if not isinstance(value, list) or not 0 < len(value) <= MAX_ADDRESSES:
        raise UsageError(f"it has no address, or more than {MAX_ADDRESSES}")
    return tuple(remote_address(_text(each["url"]), _text(each["model"])) for each in value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _optional_text(value: object, longest: int) -> str | None:
    if value is None:
        return None
    text = _text(value)
    if not text or len(text) > longest or not text.isprintable():
        raise ValueError(text[:100])
    return text


def _optional_context(value: object) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 < value <= LARGEST_CONTEXT:
        raise ValueError(value)
    return value
