from __future__ import annotations

import importlib.util

import pytest

from localrun.errors import BackendError, UsageError
from localrun.services.machine import workers
from localrun.services.machine.workers import check_workers


def test_without_rpc_in_the_engine_the_error_has_the_command_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "has_rpc", lambda: False)
    monkeypatch.setattr(workers, "has_tcp_only", lambda: False)

    with pytest.raises(BackendError) as caught:
        check_workers(["ssh gpu1"])

    assert "it has no RPC backend" in caught.value.message
    assert str(caught.value.hint).startswith('CMAKE_ARGS="-DGGML_RPC=on" ')
    assert check_workers([]) == ()


def test_an_environment_without_pip_is_told_the_command_of_uv(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(workers, "has_rpc", lambda: False)
    monkeypatch.setattr(workers, "has_tcp_only", lambda: False)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pip" else find_spec(name)
    )

    with pytest.raises(BackendError) as caught:
        check_workers(["ssh gpu1"])

    assert str(caught.value.hint).startswith('CMAKE_ARGS="-DGGML_RPC=on" uv pip install ')


def test_without_unix_sockets_workers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "has_tcp_only", lambda: True)

    with pytest.raises(BackendError, match="need Unix sockets"):
        check_workers(["ssh gpu1"])


def test_a_wrong_command_is_found_before_anything_is_started() -> None:
    with pytest.raises(UsageError):
        check_workers(["ssh 'gpu1"])
