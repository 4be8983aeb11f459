"""Debug levels of the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from localrun.logs import NATIVE_LINES, set_debug_level

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("localrun", NATIVE_LINES)]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize(("level", "own", "native"), [(1, True, False), (2, True, True)])
def test_the_second_level_adds_the_lines_of_llama_cpp(
    level: int, *, own: bool, native: bool
) -> None:
    set_debug_level(level)

    assert logging.getLogger("localrun.supervisor.planning").isEnabledFor(logging.DEBUG) is own
    assert logging.getLogger(NATIVE_LINES).isEnabledFor(logging.DEBUG) is native
    assert not logging.getLogger("another").isEnabledFor(logging.DEBUG)


def test_without_a_level_nothing_changes() -> None:
    before = logging.getLogger("localrun").level

    set_debug_level(0)

    assert logging.getLogger("localrun").level == before
