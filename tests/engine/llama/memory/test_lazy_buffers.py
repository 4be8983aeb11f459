"""Lazy buffers on tiny models of each kind of memory: size, contents, failures."""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.engine.cache.cell_supply import STEP_CELLS
from localrun.engine.context import LlamaContext
from localrun.engine.engine import Engine
from localrun.engine.llama.ggml import ggml_functions
from localrun.engine.llama.library import start
from localrun.engine.llama.memory import lazy_buffers as module
from localrun.engine.llama.memory.lazy_buffers import MIN_BYTES, lazy_buffers
from localrun.engine.llama.model import Model, load_model
from localrun.engine.params import Pooling
from localrun.engine.pooler import Pooler
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.errors import LoadError
from tests.engine.cache.test_prefix_cache import Running, alone, sequence, words
from tests.engine.test_context import run
from tests.engine.tiny import KINDS, full_attention

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.engine.sequence import Sequence

LIMITS = SchedulerLimits(num_slots=4, num_cells=4096, min_shared_tokens=8)
SIZE = 8 * MIN_BYTES
native_log = start()
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="buffers are lazy on Linux only")


@pytest.fixture(scope="module", params=KINDS)
def model(
    request: pytest.FixtureRequest, guide_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Model]:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    KINDS[request.param](path, guide_path)
    found = load_model([path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)
    yield found
    found.close()


@pytest.fixture
def plain_model(guide_path: Path, tmp_path: Path) -> Iterator[Model]:
    path = tmp_path / "tiny.gguf"
    full_attention(path, guide_path)
    found = load_model([path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)
    yield found
    found.close()


@pytest.fixture
def zeroed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let llama.cpp write zeros into its buffers, as on other systems."""
    monkeypatch.setattr(module, "_verified_hooks", lambda: None)


def new_buffer(size: int) -> int:
    ggml = ggml_functions()
    buffer: int = ggml.ggml_backend_buft_alloc_buffer(ggml.ggml_backend_cpu_buffer_type(), size)
    return buffer


def resident_pages(address: int, size: int) -> int:
    """Return the number of pages that have memory."""
    first = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    num_pages = (address + size - first) // mmap.PAGESIZE
    found = (ctypes.c_ubyte * num_pages)()
    pointer = ctypes.c_void_p(first)
    length = ctypes.c_size_t(num_pages * mmap.PAGESIZE)
    assert ctypes.CDLL(None).mincore(pointer, length, found) == 0
    return sum(byte & 1 for byte in found)


def own_bytes() -> int:
    """Return the memory of this process that is not of a file."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("Anonymous:"))
    return int(line.split()[1]) * 1024


@needs_linux
def test_a_cleared_buffer_takes_no_memory_until_it_is_written_and_reads_as_zeros() -> None:
    ggml = ggml_functions()
    with lazy_buffers() as lazy:
        buffer = new_buffer(SIZE)
        ggml.ggml_backend_buffer_clear(buffer, 0)
    address = ggml.ggml_backend_buffer_get_base(buffer)

    num_before = resident_pages(address, SIZE)
    ctypes.memset(address + SIZE // 2, 1, 1)
    num_after = resident_pages(address, SIZE)
    ctypes.memset(address, 7, SIZE)
    ggml.ggml_backend_buffer_clear(buffer, 0)  # also after the context was opened
    contents = ctypes.string_at(address, SIZE)
    ggml.ggml_backend_buffer_free(buffer)

    assert lazy.num_bytes >= SIZE
    assert num_before == 0
    assert 0 < num_after < SIZE // mmap.PAGESIZE
    assert contents == bytes(SIZE)


@needs_linux
def test_a_buffer_that_is_filled_with_another_value_has_it() -> None:
    ggml = ggml_functions()
    with lazy_buffers() as lazy:
        buffer = new_buffer(SIZE)
        ggml.ggml_backend_buffer_clear(buffer, 3)

    contents = ctypes.string_at(ggml.ggml_backend_buffer_get_base(buffer), SIZE)
    ggml.ggml_backend_buffer_free(buffer)

    assert lazy.num_bytes == 0
    assert contents == b"\x03" * SIZE


@needs_linux
def test_buffers_after_a_context_that_did_not_open_are_ggmls_own() -> None:
    ggml = ggml_functions()
    with pytest.raises(LoadError), lazy_buffers():
        raise LoadError("no memory")

    buffer = new_buffer(SIZE)
    ggml.ggml_backend_buffer_clear(buffer, 0)
    num_resident = resident_pages(ggml.ggml_backend_buffer_get_base(buffer), SIZE)
    ggml.ggml_backend_buffer_free(buffer)

    assert num_resident >= SIZE // mmap.PAGESIZE - 1  # but for the ends


@needs_linux
def test_a_buffer_type_of_another_layout_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shifted(ctypes.Structure):
        _fields_ = (("inserted", ctypes.c_void_p), *module._BufferType._fields_)

    hooks = module._Hooks()
    shifted = Shifted.from_address(hooks._handle)
    monkeypatch.setattr(hooks, "_type", shifted)

    assert not hooks.fit()


@needs_linux
@pytest.mark.parametrize("num_before_clear", [8, 10])
def test_buffers_of_another_layout_are_left_alone(
    num_before_clear: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(ctypes.Structure):
        _fields_ = (
            ("before_clear", ctypes.c_void_p * num_before_clear),
            *module._Buffer._fields_[1:],
        )

    monkeypatch.setattr(module, "_Buffer", Other)

    assert not module._Hooks().fit()


@needs_linux
def test_where_the_kernel_refuses_buffers_are_zeroed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hooks = module._Hooks()
    monkeypatch.setattr(module, "advise", lambda *_: False)

    assert not hooks.fit()


@needs_linux
def test_a_context_begins_with_a_step_of_cells(plain_model: Model) -> None:
    context = LlamaContext(plain_model, LIMITS, num_threads=1)
    supply = context.open_cache().supply
    context.close()

    assert (supply.num_cells, supply.num_reserved) == (STEP_CELLS, LIMITS.num_cells)


@needs_linux
def test_a_context_takes_memory_for_the_cells_in_use_only(
    plain_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_bytes() -> int:
        before = own_bytes()
        running = Running(plain_model, SchedulerLimits(num_slots=4, num_cells=65536))
        running.ask(words(plain_model, "One fox. ", 100))
        after = own_bytes()
        running.context.close()
        return after - before

    by_need = taken_bytes()
    monkeypatch.setattr(module, "_verified_hooks", lambda: None)

    assert by_need < taken_bytes() / 4


@pytest.mark.usefixtures("zeroed_at_once")
def test_a_context_that_is_zeroed_has_all_cells_from_the_start(plain_model: Model) -> None:
    context = LlamaContext(plain_model, LIMITS, num_threads=1)
    supply = context.open_cache().supply
    context.close()

    assert supply.num_cells == supply.num_reserved == LIMITS.num_cells


def test_cells_on_a_gpu_are_all_there_from_the_start(
    plain_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = LlamaContext(plain_model, LIMITS, num_threads=1)
    monkeypatch.setattr(plain_model, "devices", (object(),))

    supply = context.open_cache().supply
    context.close()

    assert supply.num_cells == LIMITS.num_cells


def conversation(model: Model) -> tuple[list[Sequence], int]:
    """Return the sequences of some requests that need several steps of cells, and the cells."""
    running = Running(model, LIMITS)
    texts = ("One fox. ", "Two dogs! ", "Three cats? ")
    sequences = running.ask(*(words(model, text, 700) for text in texts), new=40)
    history = [*sequences[0].tokens, *words(model, "And then?", 9)]
    sequences += running.ask(history)
    sequences += running.ask(words(model, "A long story about a fox. ", 1900))
    sequences += running.ask(words(model, "Two dogs! ", 690))
    num_cells = running.cache.supply.num_cells
    running.context.close()
    return sequences, num_cells


def test_cells_by_need_change_no_token_and_compute_none_twice(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_need, num_cells = conversation(model)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_verified_hooks", lambda: None)
        at_once, _ = conversation(model)

    assert [seq.tokens for seq in by_need] == [seq.tokens for seq in at_once]
    assert [seq.num_cached for seq in by_need] == [seq.num_cached for seq in at_once]
    assert num_cells > STEP_CELLS


@needs_linux
def test_sequences_without_memory_for_their_cells_wait_and_say_the_same(plain_model: Model) -> None:
    prompts = [words(plain_model, text, 700) for text in ("One fox. ", "Two dogs! ", "Cats? ")]
    context = LlamaContext(plain_model, LIMITS, num_threads=1, free_bytes=lambda: 0)
    cache = context.open_cache()
    scheduler = Scheduler(LIMITS, cache)
    engine = Engine(context, scheduler, pieces=plain_model.pieces, eog=frozenset())
    sequences = [sequence(number, prompt, 12) for number, prompt in enumerate(prompts)]

    run(engine, *sequences)

    assert cache.supply.lacks_memory
    assert cache.supply.num_cells == STEP_CELLS
    assert [seq.tokens for seq in sequences] == [alone(plain_model, prompt) for prompt in prompts]
    context.close()


def test_vectors_are_the_same(plain_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [words(plain_model, text, 200) for text in ("One fox. ", "Two dogs! ")]

    def vectors() -> np.ndarray:
        pooler = Pooler(plain_model, Pooling.MEAN, longest=1500, num_threads=1)
        found = [pooler.compute(inputs), pooler.compute(inputs[1:])]
        pooler.close()
        return np.concatenate(found)

    lazily = vectors()
    monkeypatch.setattr(module, "_verified_hooks", lambda: None)

    assert np.array_equal(lazily, vectors())
