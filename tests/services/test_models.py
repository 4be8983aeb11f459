"""Which models are on this machine."""

from __future__ import annotations

import pytest

from localrun.errors import ModelNameError, ModelNotFoundError
from localrun.services.models import find_model, list_models
from localrun.store.embedded import file_digest


def test_the_embedded_model_is_listed_with_what_its_file_says() -> None:
    (guide,) = list_models()

    assert guide.name == "guide:latest"
    assert guide.size_bytes == guide.path.stat().st_size
    assert guide.digest == file_digest(guide.path)
    assert guide.modified.tzinfo is not None
    assert guide.details.format == "gguf"
    assert guide.details.parameter_size.endswith("M")
    assert "completion" in guide.details.capabilities


@pytest.mark.parametrize("name", ["guide", "guide:latest"])
def test_a_model_is_found_with_and_without_its_tag(name: str) -> None:
    assert find_model(name).name == "guide:latest"


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("guied")

    assert caught.value.message == "model 'guied' is not on this machine"
    assert caught.value.hint == "localrun run guide"


def test_for_a_far_name_the_hint_is_the_list() -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("nosuch:1b")

    assert "localrun list" in (caught.value.hint or "")


def test_what_is_no_name_is_told_apart_from_what_is_not_here() -> None:
    with pytest.raises(ModelNameError):
        find_model("not a name")
