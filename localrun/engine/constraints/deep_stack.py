"""Call what recurses as deep as untrusted text tells it to, on a stack that is large enough.

llguidance follows each ``$ref`` and each rule by a call of its own, without a limit: 1,200
definitions in a chain overflow the usual 8 MiB, and that ends the process.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

# addresses alone: memory is taken as it is used. The longest chains in grammar.LARGEST_TEXT
# bytes took less than 64 MiB
STACK_BYTES = 256 * 2**20
T = TypeVar("T")
_size = threading.Lock()  # the size of stacks belongs to the process


def on_deep_stack(call: Callable[[], T]) -> T:
    """Return what ``call`` returns, or raise what it raises; the caller waits."""
    answer: Future[T] = Future()
    thread = threading.Thread(target=_answer, args=(answer, call), name="deep", daemon=True)
    with _size:
        usual = threading.stack_size(STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(usual)
    thread.join()
    return answer.result()


def _answer(answer: Future[T], call: Callable[[], T]) -> None:
    try:
        answer.set_result(call())
    except BaseException as error:  # noqa: BLE001 - the caller raises it
        answer.set_exception(error)
