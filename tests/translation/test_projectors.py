"""A projector in the same file becomes a file of its own, which llama.cpp loads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from gguf import GGUFReader

from localrun.gguf.header import read_header
from localrun.gguf.role import role_of
from localrun.services.capabilities import projector_inputs
from localrun.store.store import embedded_models
from localrun.translation.rules import rules_for
from localrun.translation.translate import examine, translate
from tests.engine.tiny import WIDTH
from tests.translation import files
from tests.translation.families import FAMILIES
from tests.translation.projectors import PROJECTORS
from tests.translation.seeing import seen

if TYPE_CHECKING:
    from pathlib import Path

DEEPSTACKED = {"qwen3vl": 3, "qwen3vlmoe": 3}  # times as wide: a part for each of the layers


class Made(NamedTuple):
    """A model with its projector as llama.cpp reads them, and as Ollama's file becomes."""

    model: Path
    projector: Path
    old: Path
    made_model: Path
    made_projector: Path


@pytest.fixture(params=PROJECTORS, scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    tmp_path = tmp_path_factory.mktemp(request.param)
    family, projector = FAMILIES[request.param], PROJECTORS[request.param]
    names = ("model", "projector", "old", "made", "made-projector")
    made = Made(*(tmp_path / f"{name}.gguf" for name in names))
    family.make(made.model, embedded_models()["guide:latest"])
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(made.model).tensors}
    projector.write(made.projector, tensors["token_embd.weight"])
    family.write_old(
        made.model,
        made.old,
        projector.old_tensors(),
        projector.old_values(family.architecture),
    )
    translate(made.old, made.made_model, made.made_projector)
    return made


def test_the_projector_is_the_one_that_llama_cpp_reads(made: Made) -> None:
    keys, tensors = files.contents(made.made_projector)
    expected_keys, expected_tensors = files.contents(made.projector)

    del keys["general.type"]  # of llama.cpp's converter; the test's writer has none
    keys.pop("clip.vision.is_deepstack_layers", None)  # no longer read
    keys.pop("clip.has_audio_encoder", None)
    if "clip.vision.projector_type" in expected_keys:
        keys.pop("clip.projector_type", None)
    elif "clip.projector_type" in expected_keys:
        keys.pop("clip.vision.projector_type", None)
    assert keys == expected_keys
    assert tensors == expected_tensors


def test_it_sees_what_the_original_does(made: Made, request: pytest.FixtureRequest) -> None:
    width = WIDTH * DEEPSTACKED.get(request.node.callspec.params["made"], 1)

    vectors = seen(made.made_model, made.made_projector, width)

    expected = seen(made.model, made.projector, width)
    # llama.cpp clears the breaks of Pixtral's rows by a product with 0, which leaves a NaN as it is
    are_clear = np.isfinite(vectors).all(axis=1) & np.isfinite(expected).all(axis=1)
    assert are_clear.sum() > len(vectors) / 2
    assert np.allclose(vectors[are_clear], expected[are_clear], rtol=1e-4, atol=1e-5)


def test_it_is_a_projector_and_not_recognized_again(made: Made) -> None:
    header = read_header(made.made_projector)

    assert role_of(header) == "projector"
    assert "vision" in projector_inputs(header)
    assert rules_for(header) is None


def test_the_bytes_are_known_before(made: Made) -> None:
    planned = examine(made.old)

    written = made.made_model.stat().st_size + made.made_projector.stat().st_size
    assert planned.has_projector
    assert written <= planned.num_bytes <= written + 2 * 4096 + 64
