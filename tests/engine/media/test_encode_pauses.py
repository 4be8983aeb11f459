"""Pauses of an encode are near while others compute in them, and rare while nobody does."""

from __future__ import annotations

from localrun.engine.media.encode_pauses import ALONE_S, TARGET_S, EncodePauses

NODE_S = 0.001
STEP_S = 0.005


class Encode:
    """An encode of equal nodes on a clock of its own, which asks as libmtmd does."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses = EncodePauses(lambda: self.now, lambda: self.now)
        self.gaps: list[float] = []  # seconds of encoding before each pause

    def run(self, num_nodes: int, work_s: float) -> None:
        resumed_at = self.now

        def go_on() -> bool:
            nonlocal resumed_at
            self.gaps.append(self.now - resumed_at)
            self.now += work_s
            resumed_at = self.now
            return True

        with self.pauses.calling(go_on):
            for _ in range(num_nodes):
                is_pause = self.pauses._call(0, True, None)  # noqa: FBT003 - as C calls
                self.now += NODE_S
                if is_pause:
                    self.pauses._call(0, False, None)  # noqa: FBT003


def test_pauses_are_near_while_something_is_computed_in_them() -> None:
    encode = Encode()

    encode.run(2000, STEP_S)

    assert max(encode.gaps) <= 2 * TARGET_S
    assert len(encode.gaps) >= 2000 * NODE_S / (2 * TARGET_S)


def test_pauses_are_rare_while_nothing_else_is_to_do() -> None:
    encode = Encode()

    encode.run(2000, 0.0)

    assert max(encode.gaps) > 0.9 * ALONE_S
    assert len(encode.gaps) < 2000 * NODE_S / TARGET_S / 4


def test_the_first_step_of_another_makes_them_near_at_once() -> None:
    encode = Encode()
    encode.run(2000, 0.0)
    encode.gaps.clear()

    encode.run(1000, STEP_S)

    assert max(encode.gaps[1:]) <= 2 * TARGET_S
