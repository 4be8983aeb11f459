from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.server.serving import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as found:
        yield found
