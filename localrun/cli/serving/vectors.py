"""Vectors of a text, which ``run`` prints for an embedding model: one JSON array in a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localrun.cli.serving.answer import ask_server
from localrun.cli.serving.result_file import print_json, print_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.cli.serving.answer import ChatOptions
    from localrun.client.api import LocalrunClient


def embed_once(
    connect: Callable[[], LocalrunClient],
    options: ChatOptions,
    text: str,
    dimensions: int | None,
    *,
    truncates: bool = False,
) -> None:
    """Print the vector of a text, or of its beginning if ``truncates`` and it is too long.

    ``connect`` returns a running server.

    Raises:
        LocalrunError: the model cannot embed the text.
    """
    body: dict[str, Any] = {"model": options.model, "input": text, "truncate": truncates}
    optional = {
        "dimensions": dimensions,
        "keep_alive": options.keep_alive,
        "options": options.sampling or None,
    }
    body |= {name: value for name, value in optional.items() if value is not None}
    answer = ask_server(connect, lambda client: client.embed(body))
    (vector,) = answer["embeddings"]
    if options.as_json:
        tokens = answer.get("prompt_eval_count")
        print_json(options, {"model": options.model, "embedding": vector, "prompt_tokens": tokens})
    else:
        print_text(options, json.dumps(vector) + "\n")
