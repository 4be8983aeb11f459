from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import IntegrityError
from localrun.workers.devices import worker_devices
from localrun.workers.hello import MOST_BYTES, PROTOCOL, WorkerHello, refusal
from tests.workers.hellos import GIB, far_device, hello


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(hello().line()), **fields}).encode()


def device(**fields: Any) -> bytes:
    (first,) = json.loads(hello().line())["devices"]
    return changed(devices=[{**first, **fields}])


def test_a_hello_is_read_as_it_was_written() -> None:
    assert WorkerHello.parse(hello().line()) == hello()
    assert hello().line().count(b"\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Welcome to gpu1!\n",
        b"[]",
        b"7",
        b"[" * 100_000,
        changed(localrun_worker=2),
        changed(protocol=[7]),
        changed(protocol=[-1, 0]),
        changed(devices=[]),
        changed(devices=[{}] * 17),
        changed(threads="4"),
        changed(threads=True),
        device(total_bytes=MOST_BYTES + 1),
        device(free_bytes=-1),
        device(name=7),
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(IntegrityError, match="hello"):
        WorkerHello.parse(line)


@given(st.binary(max_size=300))
def test_no_bytes_raise_another_error(line: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        WorkerHello.parse(line)

    assert caught.value.message.isprintable()


def test_a_worker_has_no_more_free_memory_than_memory() -> None:
    line = device(total_bytes=5, free_bytes=MOST_BYTES)

    assert WorkerHello.parse(line).devices[0].free_bytes == 5


def test_texts_control_no_terminal() -> None:
    parsed = WorkerHello.parse(device(description="a\x1b[2Jb\n" + 1000 * "x"))

    assert parsed.devices[0].description.startswith("a [2Jb x")
    assert len(parsed.devices[0].description) == 200


def test_another_protocol_is_refused_with_both_versions() -> None:
    major, minor = PROTOCOL

    assert refusal(hello()) is None
    for protocol in ((major + 1, minor), (major - 1, minor), (major, minor + 1)):
        reason = refusal(hello(protocol=protocol))
        assert reason is not None
        assert f"{protocol[0]}.{protocol[1]}" in reason
        assert f"{major}.{minor}" in reason
        assert "localrun 9.9" in reason


def test_devices_are_named_by_the_worker() -> None:
    devices = worker_devices("ssh gpu1", hello(far_device(is_gpu=True), far_device(GIB)))

    assert [device.name for device in devices] == ["ssh gpu1", "ssh gpu1 #2"]
    assert [device.is_processor for device in devices] == [False, True]
    assert {device.worker for device in devices} == {"ssh gpu1"}
    assert all(device.is_gpu for device in devices)  # layers can be put there
