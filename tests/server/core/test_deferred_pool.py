from __future__ import annotations

import threading

from localrun.server.core.deferred_pool import DeferredPool
from localrun.supervisor.pool import RunnerPool
from tests.fakes.starting import start_fake


def new_pool() -> RunnerPool:
    return RunnerPool(keep_alive_s=300, start=start_fake)


def test_threads_that_need_the_pool_at_once_get_the_same() -> None:
    deferred, opened, together = DeferredPool(new_pool), [], threading.Barrier(8)

    def open_it() -> None:
        together.wait()
        opened.append(deferred.open())

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(opened) == 8
    assert len(set(map(id, opened))) == 1
    deferred.close()
    assert opened[0].is_closing


def test_a_pool_that_nobody_needed_is_not_created_to_be_closed() -> None:
    created: list[bool] = []

    def create() -> RunnerPool:
        created.append(True)
        return new_pool()

    deferred = DeferredPool(create)
    deferred.close()

    assert created == []
    assert deferred.is_closing


def test_a_pool_that_is_created_after_the_end_is_closed() -> None:
    deferred = DeferredPool(new_pool)
    deferred.close()

    assert deferred.open().is_closing
