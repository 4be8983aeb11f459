"""Pauses of an encode are near while others compute in them, and rare while nobody does."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING

import pytest

from localrun.engine.media.encode_pauses import ALONE_S, TARGET_S, EncodePauses

if TYPE_CHECKING:
    from collections.abc import Iterable

EQUAL = (0.001,)  # seconds of nodes
LAYER = (0.0001,) * 12 + (0.003, 0.0001) * 4 + (0.013,) + (0.0001,) * 8 + (0.011, 0.002, 0.010)
STEP_S, TINY_S = 0.005, 1e-6
UNITS_PER_S = 1e9


class Encode:
    """Encodes on a clock of their own, which ask as libmtmd does; a node's address is its work."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses = EncodePauses(lambda: self.now, lambda: self.now, float)
        self.pieces: list[float] = []  # seconds of encoding before each pause

    def run(self, nodes: Iterable[float], work_s: float) -> None:
        resumed_at = self.now

        def go_on() -> bool:
            nonlocal resumed_at
            self.pieces.append(self.now - resumed_at)
            self.now += work_s
            resumed_at = self.now
            return True

        with self.pauses.calling(go_on):
            for seconds in nodes:
                is_pause = self.pauses._call(int(seconds * UNITS_PER_S), True, None)  # noqa: FBT003 - as C calls
                self.now += seconds
                if is_pause:
                    self.pauses._call(0, False, None)  # noqa: FBT003


def nodes_of(layer: tuple[float, ...], num_layers: int) -> list[float]:
    return list(islice(cycle(layer), len(layer) * num_layers))


@pytest.mark.parametrize("layer", [EQUAL * 30, LAYER])
def test_pauses_are_near_while_something_is_computed_in_them(layer: tuple[float, ...]) -> None:
    encode = Encode()
    nodes = nodes_of(layer, 24)

    encode.run(nodes, STEP_S)

    assert max(encode.pieces) <= TARGET_S + max(nodes) + TINY_S
    assert len(encode.pieces) <= 1.1 * sum(nodes) / TARGET_S


def test_pauses_are_rare_while_nothing_else_is_to_do() -> None:
    encode = Encode()

    encode.run(EQUAL * 2000, 0.0)

    assert max(encode.pieces) > 0.9 * ALONE_S
    assert len(encode.pieces) < 2000 * EQUAL[0] / TARGET_S / 4


def test_the_first_step_of_another_makes_them_near_at_once() -> None:
    encode = Encode()
    encode.run(EQUAL * 2000, 0.0)
    encode.pieces.clear()

    encode.run(EQUAL * 1000, STEP_S)

    assert max(encode.pieces[1:]) <= 2 * TARGET_S


def test_nodes_without_work_do_not_cause_a_pause() -> None:
    encode = Encode()

    encode.run((0.0,) * 100, STEP_S)

    assert encode.pieces == []
