"""Names of models: ``[host/][namespace/]model[:tag]``.

Knows the grammar, not what exists. Parsing and ``str`` are inverse to each other:
``parse_name(str(ref)) == ref`` for every ref, and equal text is equal models.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from localrun.errors import ModelNameError

DEFAULT_TAG = "latest"
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,251}(?::\d{1,5})?")
MOST_PARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A model's name, its parts apart; None where the text leaves one out."""

    model: str
    tag: str = DEFAULT_TAG
    namespace: str | None = None
    host: str | None = None

    def __str__(self) -> str:
        return "/".join(
            part for part in (self.host, self.namespace, f"{self.model}:{self.tag}") if part
        )


def parse_name(text: str) -> ModelRef:
    """Read a model's name.

    Raises:
        ModelNameError: the text is none.
    """
    *folders, last = text.split("/")
    model, colon, tag = last.partition(":")
    host = folders[0] if len(folders) == MOST_PARTS - 1 else None
    namespace = folders[-1] if folders else None
    parts = [model, tag if colon else DEFAULT_TAG, *([namespace] if namespace is not None else [])]
    if (
        len(folders) >= MOST_PARTS
        or not all(PART.fullmatch(part) for part in parts)
        or (host is not None and not HOST.fullmatch(host))
    ):
        raise ModelNameError(
            f"not a model name: {text!r}",
            hint="names look like guide, qwen3:0.6b or owner/model:tag",
        )
    return ModelRef(model=model, tag=parts[1], namespace=namespace, host=host)
