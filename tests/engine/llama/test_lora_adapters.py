"""Adapters on tiny models of random weights, chosen by each sequence."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from localrun.engine.context import LlamaContext
from localrun.engine.llama import lora_adapters as module
from localrun.engine.llama.library import start
from localrun.engine.llama.lora_adapters import AdapterCache, AdapterFile, adapter_set
from localrun.engine.llama.model import Model, load_model
from localrun.engine.sequence import Sequence
from localrun.errors import LoadError
from tests.engine.cache.test_prefix_cache import GREEDY, LIMITS, Running, words
from tests.engine.test_context import generate, run
from tests.engine.tiny import KINDS, adapter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.engine.llama.lora_adapters import AdapterSet

ARCHITECTURES = {"full_attention": "llama", "hybrid": "lfm2"}
NEW = 16
native_log = start()


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(
    request: pytest.FixtureRequest, guide_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Model]:
    folder = tmp_path_factory.mktemp("adapted")
    KINDS[request.param](folder / "tiny.gguf", guide_path)
    for name, seed in (("a", 1), ("b", 2)):
        adapter(folder / f"{name}.gguf", ARCHITECTURES[request.param], seed)
    os.chdir(folder)
    found = load_model(
        [folder / "tiny.gguf"],
        native_log=native_log,
        num_gpu_layers=0,
        on_progress=lambda _: None,
    )
    yield found
    found.close()


def file(name: str) -> AdapterFile:
    return AdapterFile(f"{name}.gguf", 100, 0)


def sets() -> list[AdapterSet]:
    a, b = file("a"), file("b")
    return [(), ((a, 1.0),), ((b, 1.0),), ((a, 0.5), (b, 2.0)), ((a, -1.0),)]


def sequence(number: int, prompt: list[int], adapters: AdapterSet) -> Sequence:
    return Sequence(
        request_id=number,
        tokens=[*prompt],
        max_tokens=len(prompt) + NEW,
        sampling=GREEDY,
        adapters=adapters,
    )


def with_all_along(model: Model, prompt: list[int], adapters: AdapterSet) -> list[int]:
    """Return what a context says that never had another set."""
    context = LlamaContext(model, LIMITS, num_threads=1)
    context.use_adapters([(model.load_adapter(Path(one.path)), scale) for one, scale in adapters])
    seq = sequence(1, prompt, ())
    generate(model, context, seq, eog=frozenset())
    context.close()
    return seq.tokens


def test_together_each_says_what_it_says_alone(model: Model) -> None:
    prompt = words(model, "Once upon a time there was a fox. ", 40)
    alone = [with_all_along(model, prompt, one) for one in sets()]
    running = Running(model)

    for turn in range(2):  # the second time from the cache
        sequences = [sequence(10 * turn + n, prompt, one) for n, one in enumerate(sets())]
        run(running.engine, *sequences)

        assert [seq.tokens for seq in sequences] == alone
    assert len({tuple(tokens) for tokens in alone}) == len(alone)
    running.context.close()


def test_adapters_hold_while_the_cache_grows(model: Model) -> None:
    prompt = words(model, "Once upon a time there was a fox. ", 500)
    alone = [with_all_along(model, prompt, one) for one in sets()[:3]]
    running = Running(model)
    num_before = running.cache.supply.num_cells

    sequences = [sequence(number, prompt, one) for number, one in enumerate(sets()[:3])]
    run(running.engine, *sequences)

    assert [seq.tokens for seq in sequences] == alone
    assert running.cache.supply.num_cells > num_before or num_before == LIMITS.num_cells
    running.context.close()


def test_a_set_that_was_never_computed_with_leaves_no_trace(model: Model) -> None:
    prompt = words(model, "And then it slept. ", 12)
    a, b = (model.load_adapter(Path(f"{name}.gguf")) for name in "ab")
    worn: list[list[tuple[Any, float]]] = [[], [(a, 1.0)], [(b, 1.0)], [(a, 0.5), (b, 2.0)]]
    alone = [with_all_along(model, prompt, one) for one in sets()[:4]]
    context = LlamaContext(model, LIMITS, num_threads=1)

    for number in range(16):
        for step in (5, 3, 1):
            context.use_adapters(worn[(number * step) % 4])
        seq = sequence(number, prompt, ())
        generate(model, context, seq, eog=frozenset())

        assert seq.tokens == alone[number % 4]
    context.close()


def test_one_that_does_not_load_fails_its_own_request_only(model: Model) -> None:
    running = Running(model)
    good = sequence(1, words(model, "Hello fox. ", 8), ())
    running.engine.submit(good)

    with pytest.raises(LoadError, match=r"the adapter missing\.gguf does not fit"):
        running.engine.submit(sequence(2, [300], ((file("missing"), 1.0),)))
    while running.engine.has_work:
        running.engine.step()

    assert good.num_generated == NEW
    assert running.context.adapter_bytes == 0
    running.context.close()


def test_sets_of_equal_effect_are_equal() -> None:
    a, b = file("a"), file("b")

    assert adapter_set([(b, 1.0), (a, 0.5), (a, 0.25)]) == ((a, 0.75), (b, 1.0))
    assert adapter_set([(a, 1.0), (b, 0.0), (a, -1.0)]) == ()


@dataclass
class FakeModel:
    """Remembers what is loaded."""

    loaded: list[str] = field(default_factory=list)
    applied: list[list[tuple[Any, float]]] = field(default_factory=list)

    def load_adapter(self, path: Path) -> object:
        self.loaded.append(path.stem)
        return path.stem

    def free_adapter(self, handle: object) -> None:
        worn = self.applied[-1] if self.applied else []
        assert handle not in [one for one, _ in worn]  # the context would point to what is gone
        self.loaded.remove(str(handle))


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> AdapterCache:
    monkeypatch.setattr(module, "MAX_LOADED", 2)
    fake = FakeModel()
    return AdapterCache(fake, fake.applied.append)


def loaded(cache: AdapterCache) -> list[str]:
    assert isinstance(cache.model, FakeModel)
    return cache.model.loaded


def use(cache: AdapterCache, name: str) -> None:
    cache.acquire(((file(name), 1.0),))
    cache.apply(((file(name), 1.0),))
    cache.release(((file(name), 1.0),))


def test_the_least_recently_used_adapter_is_freed(cache: AdapterCache) -> None:
    for name in "abac":
        use(cache, name)

    assert loaded(cache) == ["a", "c"]
    assert cache.size_bytes == 200
    cache.apply(())
    cache.close()
    assert loaded(cache) == []


def test_acquired_adapters_stay_loaded_however_many_there_are(cache: AdapterCache) -> None:
    held = [((file(name), 1.0),) for name in "abcd"]
    for one in held:
        cache.acquire(one)
    before = [*loaded(cache)]
    for one in held:
        cache.release(one)

    assert before == ["a", "b", "c", "d"]
    assert loaded(cache) == ["c", "d"]


def test_a_set_is_applied_only_if_it_differs(cache: AdapterCache) -> None:
    assert isinstance(cache.model, FakeModel)
    one = ((file("a"), 1.0),)
    cache.acquire(one)

    for worn in ((), one, one, (), one):
        cache.apply(worn)

    assert cache.model.applied == [[("a", 1.0)], [], [("a", 1.0)]]


def test_a_file_that_changed_is_another_adapter(cache: AdapterCache) -> None:
    cache.acquire(((AdapterFile("a.gguf", 1, 1), 1.0),))
    cache.acquire(((AdapterFile("a.gguf", 1, 2), 1.0),))

    assert loaded(cache) == ["a", "a"]
