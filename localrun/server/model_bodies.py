"""JSON of lists of models: each model is encoded once, as long as it does not change.

A list of the store has the same object for a model that did not change. So a list of thousands of
models costs a join of bytes, which blocks no other request.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.runner.messages import JsonObject
    from localrun.services.stored_model import ModelSummary


class ModelListBody:
    """Body of a list of models in one format; ``head`` and ``tail`` are around the models.

    Safe from any thread: a race only encodes a model twice.
    """

    def __init__(
        self, head: bytes, encode: Callable[[ModelSummary], JsonObject], tail: bytes
    ) -> None:
        self._head, self._encode, self._tail = head, encode, tail
        self._pieces: dict[int, tuple[ModelSummary, bytes]] = {}  # by the id of the object it holds

    def response(self, models: Sequence[ModelSummary]) -> Response:
        """Return the response for a list; blocks for some milliseconds if all models are new."""
        known, pieces = self._pieces, {}
        for model in models:
            pieces[id(model)] = known.get(id(model)) or (model, self._piece(model))
        self._pieces = pieces
        joined = b",".join(pieces[id(model)][1] for model in models)
        return Response(self._head + joined + self._tail, media_type="application/json")

    def _piece(self, model: ModelSummary) -> bytes:
        value = self._encode(model)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
