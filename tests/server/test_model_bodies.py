"""Lists of models as JSON: each model is encoded once, as long as it does not change."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.server.model_bodies import ModelListBody
from tests.server.serving import FakeCatalogue

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.services.stored_model import ModelSummary


class NameBody:
    """A body of names that counts what it encodes."""

    def __init__(self) -> None:
        self.num_encoded = 0
        self._body = ModelListBody(b'{"models":[', self._encode, b"]}")

    def read(self, models: list[ModelSummary]) -> list[str]:
        """Return the names in the body."""
        response = self._body.response(models)
        assert response.headers["content-type"] == "application/json"
        return [model["name"] for model in json.loads(bytes(response.body))["models"]]

    def _encode(self, model: ModelSummary) -> JsonObject:
        self.num_encoded += 1
        return {"name": model.name}


def models(*names: str) -> list[ModelSummary]:
    return [replace(FakeCatalogue().model, name=name) for name in names]


def test_an_unchanged_model_is_encoded_once() -> None:
    body, listed = NameBody(), models("a", "ä", "c")

    assert body.read(listed) == ["a", "ä", "c"]
    assert body.read([*listed[1:], *models("d")]) == ["ä", "c", "d"]
    assert body.num_encoded == 4


def test_a_removed_model_is_forgotten() -> None:
    body, listed = NameBody(), models("a", "b")
    body.read(listed)

    assert body.read([]) == []
    assert body.read(listed) == ["a", "b"]
    assert body.num_encoded == 4


def test_the_same_object_is_listed_twice() -> None:
    body, (model,) = NameBody(), models("a")

    assert body.read([model, model]) == ["a", "a"]
