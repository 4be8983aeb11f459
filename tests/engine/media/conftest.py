from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.engine.llama.library import start
from localrun.engine.llama.model import load_model
from localrun.store.store import embedded_projectors
from tests.engine.media.pairs import FAMILIES, write_pair
from tests.engine.media.seeing import Pair, open_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    OpenPair = Callable[[str], Pair]

native_log = start()


@pytest.fixture(scope="session")
def pair_files(
    guide_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Path]]:
    """Write the two files of a family once; guide's are in the package."""
    folder = tmp_path_factory.mktemp("pairs")
    made = {"guide": (guide_path, embedded_projectors()["guide:latest"])}

    def files(family: str) -> tuple[Path, Path]:
        if family not in made:
            made[family] = write_pair(folder, family, guide_path)
        return made[family]

    return files


@pytest.fixture(scope="session")
def open_family(pair_files: Callable[[str], tuple[Path, Path]]) -> Iterator[OpenPair]:
    """Load the pair of a family once."""
    loaded: dict[str, Pair] = {}

    def load(family: str) -> Pair:
        if family not in loaded:
            text, projector = pair_files(family)
            model = load_model(
                [text], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None
            )
            loaded[family] = open_pair(model, text, projector, native_log)
        return loaded[family]

    yield load
    for pair in loaded.values():
        pair.projector.close()
        pair.model.close()


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pair(family: str, open_family: OpenPair) -> Pair:
    found = open_family(family)
    found.library.embeddings.clear()
    return found
