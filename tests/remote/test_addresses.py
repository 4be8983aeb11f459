from __future__ import annotations

import pytest

from localrun.remote.addresses import LONGEST_AVOID_S, MAX_PREFIXES, SLACK, Addresses
from localrun.remote.model import RemoteModel, remote_address

A, B, C = (remote_address(f"http://{name}:1", "m") for name in "abc")
MODEL = RemoteModel(addresses=(A, B, C))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def addresses(clock: Clock) -> Addresses:
    return Addresses(clock)


def test_the_least_busy_comes_first_and_equal_ones_take_turns(addresses: Addresses) -> None:
    with addresses.in_use(A), addresses.in_use(A), addresses.in_use(B):
        assert addresses.order(MODEL) == [C, B, A]

    with addresses.in_use(C):
        pass
    assert addresses.order(MODEL) == [A, B, C]


def test_the_longest_known_prefix_comes_first(addresses: Addresses) -> None:
    with addresses.in_use(B, (b"1",)), addresses.in_use(C, (b"1", b"12")):
        pass

    assert addresses.order(MODEL, (b"1", b"12", b"123"))[0] == C
    assert addresses.order(MODEL, (b"other",))[0] == A


def test_a_prefix_does_not_hold_a_request_at_a_busy_address(addresses: Addresses) -> None:
    with addresses.in_use(B, (b"1",)):
        pass
    opened = [addresses.in_use(B) for _ in range(SLACK + 1)]
    for each in opened[:-1]:
        each.__enter__()
    assert addresses.order(MODEL, (b"1",))[0] == B

    opened[-1].__enter__()

    assert addresses.order(MODEL, (b"1",))[0] != B


def test_what_failed_comes_last_until_it_is_probed(addresses: Addresses, clock: Clock) -> None:
    with addresses.in_use(A, (b"1",)):
        pass
    addresses.failed(A)
    assert addresses.order(MODEL, (b"1",)) == [B, C, A]
    assert addresses.due(MODEL) == []

    clock.now += 1.0

    assert addresses.due(MODEL) == [A]
    assert addresses.order(MODEL, (b"1",))[-1] == A
    addresses.succeeded(A)
    assert addresses.order(MODEL, (b"1",))[0] == A


def test_each_failure_doubles_the_wait_up_to_a_bound(addresses: Addresses, clock: Clock) -> None:
    waits = []
    for _ in range(20):
        addresses.failed(A)
        waits.append(addresses.state(A).avoided_until - clock.now)

    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == LONGEST_AVOID_S


def test_all_are_tried_if_all_failed(addresses: Addresses) -> None:
    for each in (C, A, B):
        addresses.failed(each)

    assert set(addresses.order(MODEL)) == {A, B, C}


def test_prefixes_are_bounded(addresses: Addresses) -> None:
    for number in range(MAX_PREFIXES + 50):
        with addresses.in_use(A, (str(number).encode(),)):
            pass

    assert len(addresses._prefixes) == MAX_PREFIXES
    assert b"0" not in addresses._prefixes
