from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localrun.supervisor.model import KeepAlive
from localrun.supervisor.slots.served_names import ServedName, ServedNames

names = st.sampled_from("abc")
times = st.one_of(st.none(), st.integers(0, 100).map(float))


@given(st.lists(st.tuples(names, times), max_size=20), st.integers(0, 101))
def test_a_name_expires_with_the_keep_alive_of_its_last_request(
    requests: list[tuple[str, float | None]], now: int
) -> None:
    served = ServedNames()
    last: dict[str, float | None] = {}
    for name, expires_at in requests:
        served.open(name, "sha256:0")
        served.close(name, expires_at)
        last[name] = expires_at

    is_empty = served.drop_expired(now)

    left = {name for name, time in last.items() if time is None or time > now}
    assert set(served.by_name) == left
    assert is_empty == (not left)


@given(st.lists(st.tuples(names, times, st.sampled_from(["", "pins", "opens"])), max_size=9))
def test_the_next_expiry_is_when_the_first_name_goes(
    requests: list[tuple[str, float | None, str]],
) -> None:
    served = ServedNames()
    for name, expires_at, act in requests:
        served.open(name, "sha256:0", pins=act == "pins")
        if act != "opens":
            served.close(name, expires_at)
    before, expiry = served.by_name, served.next_expiry

    if expiry is None:
        served.drop_expired(10**9)
        assert served.by_name == before
    else:
        served.drop_expired(expiry - 1)
        assert served.by_name == before
        served.drop_expired(expiry)
        assert len(served.by_name) < len(before)


@given(st.lists(st.tuples(names, st.booleans()), max_size=30))
def test_open_requests_are_counted_and_keep_their_name(acts: list[tuple[str, bool]]) -> None:
    served = ServedNames()
    num_open = dict.fromkeys("abc", 0)
    for name, opens in acts:
        if opens:
            served.open(name, "sha256:0")
            num_open[name] += 1
        elif num_open[name]:
            served.close(name, 0.0)
            num_open[name] -= 1
        served.drop_expired(1.0)

        assert {name: entry.num_open for name, entry in served.by_name.items()} == {
            name: count for name, count in num_open.items() if count
        }


@given(
    source=names,
    target=names,
    first=times,
    second=times,
    pins=st.booleans(),
    opens=st.booleans(),
)
def test_two_names_that_become_one_lose_nothing(
    *,
    source: str,
    target: str,
    first: float | None,
    second: float | None,
    pins: bool,
    opens: bool,
) -> None:
    served = ServedNames()
    served.open(target, "sha256:2")
    served.close(target, second)
    served.open(source, "sha256:1", KeepAlive(1), pins=pins)
    served.close(source, first)
    if opens:
        served.open(source, "sha256:1", KeepAlive(1))
    before = served.by_name
    if source == target:
        return

    served.rename(source, target)

    (joined,) = served.by_name.values()
    assert joined.num_open == opens
    assert joined.is_pinned == pins
    assert joined.digest == "sha256:1"
    assert joined.keep_alive == KeepAlive(1)
    for now in range(102):
        if any(not entry.is_expired(now) for entry in before.values()):
            assert not joined.is_expired(now)


def test_a_stop_wins_over_a_pin_and_over_the_keep_alive_of_open_requests() -> None:
    served = ServedNames()
    served.open("a", "sha256:0", pins=True)

    assert served.expire("a", 5.0)
    served.close("a", None)

    assert not served.has_pin
    assert served.drop_expired(5.0)
    assert not served.expire("a", 6.0)


def test_a_request_after_a_stop_brings_the_name_back() -> None:
    served = ServedNames()
    served.open("a", "sha256:0")
    served.expire("a", 5.0)
    served.open("a", "sha256:0")
    served.close("a", 90.0)
    served.close("a", 100.0)

    assert not served.drop_expired(99.0)
    assert served.drop_expired(100.0)


def test_the_end_of_a_runner_leaves_pins_and_open_requests() -> None:
    served = ServedNames()
    for name in "abc":
        served.open(name, "sha256:0", pins=name == "b")
    served.close("a", None)
    served.close("b", None)

    served.drop_idle()

    assert set(served.by_name) == {"b", "c"}


def test_a_copy_does_not_change() -> None:
    served = ServedNames()
    served.open("a", "sha256:0")
    copy = served.by_name
    served.set_digest("a", "sha256:1")
    served.set_digest("b", "sha256:1")
    served.rename("b", "c")

    assert copy == {"a": ServedName(digest="sha256:0", num_open=1)}
    assert served.by_name["a"].digest == "sha256:1"
    assert set(served.by_name) == {"a"}
