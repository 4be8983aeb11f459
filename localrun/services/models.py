"""Which models are on this machine, and what is known of each.

Needs no server: reads the store and the headers of the files.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from localrun.errors import ModelNotFoundError
from localrun.gguf.header import Header, read_header
from localrun.names.parse import parse_name
from localrun.store.embedded import embedded_models, file_digest

if TYPE_CHECKING:
    from pathlib import Path

THOUSAND = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDetails:
    """What a model's file says of itself."""

    format: str
    family: str
    parameter_size: str  # "5.8M"
    quantization_level: str
    context_length: int | None  # tokens
    capabilities: tuple[str, ...]  # completion, tools, thinking


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model that can be run."""

    name: str
    path: Path
    digest: str  # "sha256:<hex>"
    size_bytes: int
    modified: datetime  # with time zone
    details: ModelDetails
    chat_template: str | None


def list_models() -> list[StoredModel]:
    """Return all models of this machine, by name."""
    return [_describe(name, path) for name, path in sorted(embedded_models().items())]


def find_model(name: str) -> StoredModel:
    """Return the model of a name; a missing tag means ``latest``.

    Raises:
        ModelNameError: not a name.
        ModelNotFoundError: no model of this name; the hint says what to type.
    """
    full_name = str(parse_name(name))
    models = embedded_models()
    if full_name not in models:
        known = [name.removesuffix(":latest") for name in models]
        near = difflib.get_close_matches(name, known, n=1)
        hint = (
            f"localrun run {near[0]}" if near else "localrun list   shows the models that are here"
        )
        raise ModelNotFoundError(f"model {name!r} is not on this machine", hint=hint)
    return _describe(full_name, models[full_name])


def _describe(name: str, path: Path) -> StoredModel:
    status = path.stat()
    return _describe_version(name, path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _describe_version(name: str, path: Path, size_bytes: int, modified_ns: int) -> StoredModel:
    """Describe a file; one that has not changed is read once in a process."""
    header = read_header(path)
    modified = datetime.fromtimestamp(modified_ns / 1e9, tz=UTC)
    return StoredModel(
        name=name,
        path=path,
        digest=file_digest(path),
        size_bytes=size_bytes,
        modified=modified.astimezone(),
        details=_details(header),
        chat_template=header.text("tokenizer.chat_template"),
    )


def _details(header: Header) -> ModelDetails:
    template = header.text("tokenizer.chat_template") or ""
    capabilities = ["completion"]
    if "tools" in template:
        capabilities.append("tools")
    if "enable_thinking" in template:
        capabilities.append("thinking")
    return ModelDetails(
        format="gguf",
        family=header.architecture,
        parameter_size=_short_count(header.num_params),
        quantization_level=header.file_type,
        context_length=header.context_length,
        capabilities=tuple(capabilities),
    )


def _short_count(count: int) -> str:
    """Write 5771264 as 5.8M."""
    value = float(count)
    for unit in ("", "K", "M"):
        if value < THOUSAND:
            return f"{value:.1f}{unit}" if unit else str(count)
        value /= THOUSAND
    return f"{value:.1f}B"
