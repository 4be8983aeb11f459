from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from localrun.errors import ModelNameError, ModelNotFoundError
from localrun.services.models import find_model, list_models

if TYPE_CHECKING:
    from pathlib import Path


def test_the_embedded_model_is_listed_straight_from_the_package(guide_path: Path) -> None:
    (model,) = list_models()

    assert model.name == "guide:latest"
    assert model.path == guide_path
    assert model.digest == "sha256:" + hashlib.sha256(guide_path.read_bytes()).hexdigest()
    assert set(model.details.capabilities) == {"completion", "tools", "thinking"}
    assert model.details.parameter_size == "5.8M"


@pytest.mark.parametrize("name", ["guide", "guide:latest"])
def test_a_model_is_found_by_its_name(name: str) -> None:
    assert find_model(name).name == "guide:latest"


def test_a_misspelt_name_is_answered_with_the_near_one() -> None:
    with pytest.raises(ModelNotFoundError, match="'giude' is not on this machine") as caught:
        find_model("giude")

    assert caught.value.hint == "localrun run guide"


def test_a_name_that_is_none_is_a_usage_error() -> None:
    with pytest.raises(ModelNameError):
        find_model("../../etc/passwd")
