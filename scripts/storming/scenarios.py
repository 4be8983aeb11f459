"""Scenarios of the stress test: guide and tiny random models, with caches that are too small."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from localrun.runner.messages import Load
from localrun.store.store import embedded_models
from storming.storm import Scenario
from tests.engine.tiny import KINDS, adapter, encoder

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PIRATE = ROOT / "modelfiles" / "adapters" / "pirate.gguf"
ARCHITECTURES = {
    "full_attention": "llama", "sliding_window": "gemma3", "hybrid": "lfm2", "recurrent": "mamba"
}  # fmt: skip
HAS_FEED_FORWARD = ("full_attention", "sliding_window", "hybrid")


def scenarios(folder: Path) -> Iterator[Scenario]:
    """Yield all scenarios; the files of tiny models are written to ``folder``."""
    guide = embedded_models()["guide:latest"]
    yield Scenario(name="guide", load=_load(guide), adapters=(PIRATE,))
    drafted = _load(guide, draft_paths=(str(guide),))
    yield Scenario(name="guide with a draft", load=drafted, adapters=(PIRATE,))
    yield Scenario(name="guide, one slot", load=_load(guide, num_parallel=1), adapters=(PIRATE,))
    for kind, write in KINDS.items():
        path = folder / f"{kind}.gguf"
        write(path, guide)
        adapters = []
        for seed in range(2 if kind in HAS_FEED_FORWARD else 0):
            adapters.append(folder / f"{kind}-{seed}.gguf")
            adapter(adapters[-1], ARCHITECTURES[kind], seed)
        yield Scenario(name=kind, load=_load(path), adapters=tuple(adapters))
    encoder(folder / "encoder.gguf", guide)
    yield Scenario(name="encoder", load=_load(folder / "encoder.gguf"), can_generate=False)


def _load(path: Path, *, num_parallel: int = 5, draft_paths: tuple[str, ...] = ()) -> Load:
    """Return a `Load` with a cache that a few requests fill."""
    return Load(
        model_paths=(str(path),),
        num_ctx=400,
        num_cells=560,
        num_parallel=num_parallel,
        num_threads=1,
        draft_paths=draft_paths,
    )
