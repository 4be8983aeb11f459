"""Facts in the headers of GGUF files; an unchanged file is read once on this machine.

In the index, a line for each file; the key is the digest of a blob, or the hash of a path:

    blob:<hex>   {"stamp": [...], "details": [...], "parameters": 751632384, "inputs": ["vision"],
    file:<hash>   "has_template": true, "own_template": ["tools"], "arrays": [[1024, 2100000]],
                  "digest": "sha256:...", "path": "/home/me/model.gguf"}

The facts of a file hold as long as its stamp does. A chat template is no part of them: it is read
from the file, past the vocabulary, whose end is known.
"""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from localrun.errors import IntegrityError
from localrun.gguf.header import LONGEST_KEPT_ARRAY, read_header, read_metadata
from localrun.gguf.role import role_of
from localrun.services.capabilities import (
    projector_inputs,
    template_capabilities,
    weights_capabilities,
)
from localrun.services.index.cache import ByteCache
from localrun.services.index.checks import (
    hex_digest,
    number,
    optional_number,
    stamp,
    text,
    texts,
)
from localrun.services.stored_model import ModelDetails
from localrun.store.blobs import file_digest
from localrun.store.stamp import Stamp, is_settled, stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from localrun.gguf.header import Header, Value
    from localrun.gguf.role import GgufRole
    from localrun.store.index import StoreIndex

TEMPLATE = "tokenizer.chat_template"
ROLES = ("weights", "projector", "adapter")
THOUSAND = 1000
MAX_CACHED_BYTES = 16 << 20
FACTS_BYTES = 2000  # of the facts of one file, about
HEX_DIGITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderFacts:
    """Facts in the header of one file."""

    stamp: Stamp
    digest: str  # "sha256:<hex>" of the file
    details: ModelDetails  # with the capabilities of the weights alone
    own_template: tuple[str, ...]  # capabilities that the template in the file adds
    inputs: tuple[str, ...]  # inputs that it accepts as a projector
    num_params: int
    has_template: bool
    array_ends: Mapping[int, int]  # see `Header`


class HeaderIndex:
    """Facts of GGUF files. Safe to use from many threads; two may read the same file."""

    def __init__(self, index: StoreIndex) -> None:
        self._index = index
        self._lock = threading.Lock()  # guards the caches
        self._facts: ByteCache[str, HeaderFacts] = ByteCache(MAX_CACHED_BYTES)
        self._templates: ByteCache[tuple[str, Stamp], str] = ByteCache(MAX_CACHED_BYTES)

    def facts(self, path: Path) -> HeaderFacts:
        """Return the facts of a file.

        Raises:
            IntegrityError: not a readable GGUF file.
            OSError: the file cannot be opened.
        """
        now, key = stamp_of(path), _key(path)
        with self._lock:
            known = self._facts.get(key)
        if known is None or known.stamp != now:
            known = self._indexed(path, key, now) or self._read(path, key, now)
            with self._lock:
                self._facts.put(key, known, FACTS_BYTES)
        return known

    def metadata(
        self, path: Path, *, longest_kept: int = LONGEST_KEPT_ARRAY
    ) -> Mapping[str, Value]:
        """Return the metadata of a file; arrays of more items than ``longest_kept`` are skipped.

        Raises:
            IntegrityError: not a readable GGUF file.
            OSError: the file cannot be opened.
        """
        try:
            return read_metadata(path, self.facts(path).array_ends, longest_kept=longest_kept)
        except IntegrityError:
            return read_header(path, longest_kept=longest_kept).metadata

    def chat_template(self, path: Path) -> str | None:
        """Return the chat template in a file, or None.

        Raises:
            IntegrityError: not a readable GGUF file.
            OSError: the file cannot be opened.
        """
        facts = self.facts(path)
        if not facts.has_template:
            return None
        key = (_key(path), facts.stamp)
        with self._lock:
            template = self._templates.get(key)
        if template is None:
            found = self.metadata(path).get(TEMPLATE)
            template = found if isinstance(found, str) else ""
            self._keep_template(key, template)
        return template

    def _keep_template(self, key: tuple[str, Stamp], template: str) -> None:
        with self._lock:
            self._templates.put(key, template, 4 * len(template))

    def _indexed(self, path: Path, key: str, now: Stamp) -> HeaderFacts | None:
        """Return the facts in the index, or None if it has none of the file as it is."""
        try:
            facts = _from_json(self._index.get(key), path)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return facts if facts.stamp == now else None

    def _read(self, path: Path, key: str, now: Stamp) -> HeaderFacts:
        header = read_header(path)
        facts = HeaderFacts(
            stamp=now,
            digest=f"sha256:{path.name}" if _is_blob(path) else file_digest(path),
            details=describe_header(header),
            own_template=template_capabilities(weights_capabilities(header), header.text(TEMPLATE)),
            inputs=projector_inputs(header),
            num_params=header.num_params,
            has_template=header.text(TEMPLATE) is not None,
            array_ends=header.array_ends,
        )
        self._keep_template((key, now), header.text(TEMPLATE) or "")
        if is_settled(now):
            self._index.put(key, _to_json(facts, path))
        return facts


def is_kept(key: str, blobs: set[str], get: Callable[[str], Any]) -> bool:
    """Return whether a line of the index is of one of the ``blobs``, or of a file that exists."""
    kind, _, name = key.partition(":")
    if kind == "blob":
        return name in blobs
    value = get(key)
    path = value.get("path") if isinstance(value, dict) else None
    return isinstance(path, str) and os.path.exists(path)  # noqa: PTH110 - text of any bytes


def describe_header(header: Header) -> ModelDetails:
    """Return the details in a GGUF header."""
    return ModelDetails(
        format="gguf",
        family=header.architecture,
        parameter_size=_short_count(header.num_params),
        quantization_level=header.file_type,
        context_length=header.context_length,
        embedding_length=header.embedding_length,
        capabilities=weights_capabilities(header),
        role=role_of(header),
    )


def details_to_json(details: ModelDetails) -> list[Any]:
    """Return details as JSON."""
    return [
        details.format,
        details.family,
        details.parameter_size,
        details.quantization_level,
        details.context_length,
        details.embedding_length,
        details.capabilities,
        details.role,
    ]


def details_from_json(value: Any) -> ModelDetails:  # noqa: ANN401 - any JSON value
    """Return the details in JSON, or raise TypeError or ValueError."""
    form, family, size, level, context, embedding, capabilities, role = value
    if role not in ROLES:
        raise ValueError(role)
    return ModelDetails(
        format=text(form),
        family=text(family),
        parameter_size=text(size),
        quantization_level=text(level),
        context_length=optional_number(context),
        embedding_length=optional_number(embedding),
        capabilities=texts(capabilities),
        role=cast("GgufRole", role),
    )


def _to_json(facts: HeaderFacts, path: Path) -> dict[str, Any]:
    value: dict[str, Any] = {
        "stamp": facts.stamp,
        "details": details_to_json(facts.details),
        "own_template": facts.own_template,
        "inputs": facts.inputs,
        "parameters": facts.num_params,
        "has_template": facts.has_template,
        "arrays": list(facts.array_ends.items()),
    }
    return value if _is_blob(path) else {**value, "digest": facts.digest, "path": str(path)}


def _from_json(value: Any, path: Path) -> HeaderFacts:  # noqa: ANN401 - any JSON value
    digest = f"sha256:{path.name}" if _is_blob(path) else text(value["digest"])
    hex_digest(digest.removeprefix("sha256:"))
    return HeaderFacts(
        stamp=stamp(value["stamp"]),
        digest=digest,
        details=details_from_json(value["details"]),
        own_template=texts(value["own_template"]),
        inputs=texts(value["inputs"]),
        num_params=number(value["parameters"]),
        has_template=value["has_template"] is True,
        array_ends={number(start): number(end) for start, end in value["arrays"]},
    )


def _key(path: Path) -> str:
    if _is_blob(path):
        return f"blob:{path.name}"
    return f"file:{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]}"


def _is_blob(path: Path) -> bool:
    """Return whether the file is a blob of a store, whose name is its digest."""
    return path.parent.name == "sha256" and len(path.name) == HEX_DIGITS and path.name.isalnum()


def _short_count(count: int) -> str:
    """Format 5771264 as 5.8M."""
    value = float(count)
    for unit in ("", "K", "M"):
        if value < THOUSAND:
            return f"{value:.1f}{unit}" if unit else str(count)
        value /= THOUSAND
    return f"{value:.1f}B"
