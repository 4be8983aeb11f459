from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp
import pytest

from localrun.engine import threads
from localrun.engine.llama import thread_pool
from localrun.engine.llama.library import start
from localrun.engine.threads import ContextThreads, ThreadGauge

TASKS = Path("/proc/self/task")


class Pool:
    """A pool that notes what contexts do with it."""

    def __init__(self, num_threads: int = 4) -> None:
        self.num_threads = num_threads
        self.acts: list[str] = []

    def attach(self, _context: object) -> None:
        self.acts.append("attach")

    def detach(self, _context: object) -> None:
        self.acts.append("detach")


class Gauge(ThreadGauge):
    def __init__(self, *counts: int) -> None:
        self.counts = iter(counts)

    def count(self, _now: float) -> int:
        return next(self.counts)


@pytest.fixture
def no_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "_shared", [])
    monkeypatch.setattr(thread_pool, "ThreadPool", Pool)
    monkeypatch.setattr(llama_cpp, "llama_print_system_info", lambda: b"CPU : AVX2 = 1 | ")


@pytest.mark.usefixtures("no_openmp")
def test_the_contexts_of_a_process_share_the_pool_of_the_first() -> None:
    assert thread_pool.shared_pool(1) is None
    first = thread_pool.shared_pool(4)

    assert first is not None
    assert first.num_threads == 4
    assert thread_pool.shared_pool(2) is first
    assert thread_pool.shared_pool(8) is None


def test_a_build_with_openmp_has_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp, "llama_print_system_info", lambda: b"CPU : OPENMP = 1 | ")

    assert thread_pool.shared_pool(4) is None


def test_fewer_threads_than_the_context_has_do_without_the_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Pool()
    monkeypatch.setattr(threads, "shared_pool", lambda _count: pool)
    monkeypatch.setattr(llama_cpp, "llama_set_n_threads", lambda *_: None)
    context = ContextThreads(object(), 4, Gauge(4, 3, 3, 4))

    for _ in range(4):
        context.adjust()

    assert pool.acts == ["attach", "detach", "attach"]


@pytest.mark.skipif(not TASKS.is_dir(), reason="the threads of a process are not listed")
def test_the_threads_of_a_pool_compute_and_are_kept(guide_path: Path) -> None:
    start(backends=())
    params = llama_cpp.llama_context_default_params()
    params.n_threads = params.n_threads_batch = 2
    model = llama_cpp.llama_model_load_from_file(
        str(guide_path).encode(), llama_cpp.llama_model_default_params()
    )
    context = llama_cpp.llama_init_from_model(model, params)
    pool = thread_pool.ThreadPool(2)
    tokens = (ctypes.c_int32 * 8)(*range(8))
    counts = []

    for attach in (pool.attach, pool.detach, pool.attach):
        attach(context)
        code = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, 8))
        assert code == 0
        counts.append(len(list(TASKS.iterdir())))

    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    assert thread_pool.has_openmp() or len(set(counts)) == 1
