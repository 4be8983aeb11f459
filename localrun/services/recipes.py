"""Recipes in the layers of a model: system prompt, template, parameters, messages, licenses.

Our layer is ``application/vnd.localrun.recipe.v1+json`` with canonical JSON; licenses and template
are layers of their own: Docker's, or Ollama's if the template is in Go's language. Ollama's layers
for system, params and messages are read too.

    {"adapter_scales": [1.0], "messages": [["user", "..."]], "parameters": [["seed", 1]],
     "parser": "...", "renderer": "...", "requires": "...", "system": "..."}
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from localrun.chat.gotemplate.recognition import is_go_template
from localrun.errors import IntegrityError, UsageError
from localrun.modelfile.instruction import most_of
from localrun.modelfile.known import KNOWN, LISTS
from localrun.store.manifest import Role

if TYPE_CHECKING:
    from localrun.store.blobs import BlobStore
    from localrun.store.manifest import Descriptor, Manifest

MAX_CHARS = 256 * 1024  # the longest in use have some 20,000
MAX_KEPT = 64
LONGEST_KEPT = 64 * 1024  # characters: all cached templates take a few MiB
MAX_TEXT = 4 << 20  # a layer of text
MAX_TEXTS = 16 << 20  # all layers of text together
TEXT_ROLES = {Role.LICENSE, Role.RECIPE, Role.PARAMS, Role.MESSAGES, Role.SYSTEM, Role.TEMPLATE}
ROLES = ("system", "user", "assistant")
Value = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecipe:
    """Recipe of a model; empty for plain weights."""

    system: str | None = None
    template: str | None = None  # as written: Jinja, or Go's template language
    parameters: tuple[tuple[str, Value], ...] = ()  # in their order; "stop" may repeat
    messages: tuple[tuple[str, str], ...] = ()  # (role, text) before every conversation
    licenses: tuple[str, ...] = ()
    adapter_scales: tuple[float, ...] = ()  # of the adapter layers, in order; 1 by default
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None

    def parameter(self, name: str) -> Value | None:
        """Return a parameter's value, or None if the recipe does not set it."""
        return dict(self.parameters).get(name)

    @property
    def stop(self) -> tuple[str, ...]:
        """Return the stop sequences."""
        return tuple(str(value) for name, value in self.parameters if name == "stop")


EMPTY = StoredRecipe()


def recipe_bytes(recipe: StoredRecipe) -> bytes | None:
    """Return the content of the recipe's own layer, or None if it would be empty."""
    known: dict[str, Any] = {
        "system": recipe.system,
        "parameters": [list(pair) for pair in recipe.parameters],
        "messages": [list(pair) for pair in recipe.messages],
        "adapter_scales": list(recipe.adapter_scales),
        "renderer": recipe.renderer,
        "parser": recipe.parser,
        "requires": recipe.requires,
    }
    fields = {name: value for name, value in known.items() if value not in (None, [])}
    if set(recipe.adapter_scales) <= {1.0}:
        fields.pop("adapter_scales", None)
    if not fields:
        return None
    return json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def read_recipe(manifest: Manifest, blobs: BlobStore) -> StoredRecipe:
    """Return the recipe in a model's layers.

    Raises:
        IntegrityError: a layer is missing, damaged, or not of its media type.
    """
    _check_sizes(manifest)

    def text(layer: Descriptor) -> str:
        return blobs.read(layer.digest, max_bytes=MAX_TEXT).decode(errors="replace")

    def texts(role: Role) -> list[str]:
        return [text(layer) for layer in manifest.with_role(role)]

    fields: dict[str, Any] = {"licenses": tuple(texts(Role.LICENSE))}
    for layer in manifest.with_role(Role.RECIPE):
        fields |= _own_fields(_json(text(layer), layer.digest), layer.digest)
    for layer in manifest.with_role(Role.PARAMS):
        fields["parameters"] = _ollama_parameters(_json(text(layer), layer.digest))
    for layer in manifest.with_role(Role.MESSAGES):
        fields["messages"] = _ollama_messages(_json(text(layer), layer.digest))
    for system in texts(Role.SYSTEM):
        fields["system"] = system
    for layer in manifest.with_role(Role.TEMPLATE):
        fields["template"] = text(layer)
    count = len(manifest.with_role(Role.ADAPTER))
    scales = fields.get("adapter_scales", ())
    fields["adapter_scales"] = (*scales[:count], *[1.0] * (count - len(scales)))
    return _bounded(StoredRecipe(**fields))


def to_jinja(text: str) -> str:
    """Return a template in Jinja; translations of usual length are cached.

    Raises:
        UsageError: the template is too long, or a Go template that cannot be translated.
    """
    if len(text) > MAX_CHARS:
        raise UsageError(f"the chat template has {len(text)} characters, more than {MAX_CHARS}")
    return _kept(text) if len(text) <= LONGEST_KEPT else _translated(text)


def _check_sizes(manifest: Manifest) -> None:
    """Refuse megabytes of texts, which would be read and hashed whenever models are listed."""
    total = sum(layer.size_bytes for layer in manifest.layers if layer.role in TEXT_ROLES)
    if total > MAX_TEXTS:
        raise IntegrityError(f"the texts of the model have {total} bytes, more than {MAX_TEXTS}")


def _bounded(recipe: StoredRecipe) -> StoredRecipe:
    """Return the recipe with known parameters only, one value each unless it is a list.

    Raises:
        IntegrityError: the recipe has more of something than a Modelfile may have.
    """
    kept: dict[tuple[str, int], Value] = {}
    for number, (name, value) in enumerate(recipe.parameters):
        if name in KNOWN:
            kept[name, number if name in LISTS else 0] = value
    pairs = tuple((name, value) for (name, _), value in kept.items())
    numbers = Counter(f"PARAMETER {name}" for name, _ in pairs)
    numbers["MESSAGE"] = len(recipe.messages)
    for instruction, number in numbers.items():
        if number > most_of(instruction):
            raise IntegrityError(f"the model's recipe has {number} of {instruction}")
    return replace(recipe, parameters=pairs)


def _own_fields(value: Any, digest: str) -> dict[str, Any]:  # noqa: ANN401 - untrusted JSON
    """Parse our own layer; unknown fields of later versions are ignored."""
    try:
        fields = {
            "system": value.get("system"),
            "parameters": tuple((name, item) for name, item in value.get("parameters", ())),
            "messages": tuple((role, text) for role, text in value.get("messages", ())),
            "adapter_scales": tuple(float(scale) for scale in value.get("adapter_scales", ())),
            **{name: value.get(name) for name in ("renderer", "parser", "requires")},
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise IntegrityError(f"the recipe {digest} cannot be read") from error
    texts = [fields[name] for name in ("system", "renderer", "parser", "requires")]
    plain = all(text is None or isinstance(text, str) for text in texts)
    has_messages = all(role in ROLES and isinstance(text, str) for role, text in fields["messages"])
    known = all(isinstance(name, str) and _is_value(item) for name, item in fields["parameters"])
    if not (plain and has_messages and known and all(map(math.isfinite, fields["adapter_scales"]))):
        raise IntegrityError(f"the recipe {digest} cannot be read")
    return fields


def _ollama_parameters(value: Any) -> tuple[tuple[str, Value], ...]:  # noqa: ANN401 - untrusted
    """Parse Ollama's parameters, one JSON object; skip what is neither value nor list."""
    pairs: list[tuple[str, Value]] = []
    for name, item in value.items() if isinstance(value, dict) else ():
        items = item if isinstance(item, list) else [item]
        pairs += [(name, element) for element in items if _is_value(element)]
    return tuple(pairs)


def _ollama_messages(value: Any) -> tuple[tuple[str, str], ...]:  # noqa: ANN401 - untrusted JSON
    return tuple(
        (message["role"], str(message.get("content") or ""))
        for message in (value if isinstance(value, list) else ())
        if isinstance(message, dict) and message.get("role") in ROLES
    )


def _json(text: str, digest: str) -> Any:  # noqa: ANN401 - untrusted JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"the layer {digest} is not JSON") from error


def _is_value(value: object) -> bool:
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, str | bool) or is_number


def _translated(text: str) -> str:
    if not is_go_template(text):
        return text
    from localrun.chat.gotemplate.converter import convert  # lazy: it would slow down every start

    return convert(text)


_kept = lru_cache(maxsize=MAX_KEPT)(_translated)
