from __future__ import annotations

import os

from localrun.engine.threads import useful_threads
from localrun.hardware.cpu import usable_threads


def test_a_small_model_gets_one_thread_and_a_large_one_all() -> None:
    assert useful_threads(6_000_000) == 1
    assert useful_threads(10**12) == usable_threads() <= (os.cpu_count() or 1)
