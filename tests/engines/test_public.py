"""llama-cpp-python's public indexes, played by a server on loopback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from engines import fetching, public
from engines.fetching import Link

from tests.engines.wheels import CONTENT, DIGEST, Server, wheel_name

if TYPE_CHECKING:
    from pathlib import Path

RELEASES = "https://github.com/abetlen/llama-cpp-python/releases/download/v1"


@pytest.fixture(autouse=True)
def machine(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(public.INDEX, server.url)
    monkeypatch.setattr(public, "cuda_version", lambda: None)


@pytest.mark.parametrize(
    ("system", "cuda", "names"),
    [
        ("linux", None, ["cpu"]),
        ("linux", (13, 2), ["cu132", "cpu"]),
        ("linux", (13, 1), ["cu130", "cpu"]),
        ("linux", (12, 8), ["cu125", "cpu"]),
        ("linux", (12, 1), ["cu121", "cpu"]),
        ("linux", (11, 8), ["cpu"]),
        ("darwin", None, ["metal"]),
    ],
)
def test_the_index_is_the_newest_that_the_driver_runs(
    system: str, cuda: tuple[int, int] | None, names: list[str]
) -> None:
    assert public.fitting_indexes(system, cuda) == names


def test_a_wheel_with_a_digest_is_downloaded(tmp_path: Path, server: Server) -> None:
    server.add_index("cpu", wheel_name())

    (wheel,) = public.candidates(tmp_path)

    assert wheel.read_bytes() == CONTENT


def test_a_wheel_without_a_digest_is_not_taken(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.add_index("cpu", wheel_name(), digest=None)

    assert list(public.candidates(tmp_path)) == []
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"LOCALRUN_ENGINE_WHEEL={server.url}/cpu" in said


def test_the_digest_of_a_release_comes_from_githubs_api(monkeypatch: pytest.MonkeyPatch) -> None:
    assets = [{"name": "other.whl"}, {"name": wheel_name(), "digest": f"sha256:{DIGEST}"}]
    pages: list[str] = []

    def read_page(url: str, _headers: object) -> str:
        pages.append(url)
        return json.dumps({"assets": assets})

    monkeypatch.setattr(fetching, "read_page", read_page)

    assert public.release_digest(Link(f"{RELEASES}/{wheel_name()}", None)) == DIGEST
    assert public.release_digest(Link(f"{RELEASES}/other.whl", None)) is None
    assert pages[0].endswith("/repos/abetlen/llama-cpp-python/releases/tags/v1")
    assert public.release_digest(Link(f"https://example.invalid/{wheel_name()}", None)) is None
    assets[:] = []
    assert public.release_digest(Link(f"{RELEASES}/{wheel_name()}", None)) is None


def test_a_missing_index_is_one_line_and_the_next_is_tried(
    tmp_path: Path,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(public, "cuda_version", lambda: (12, 4))
    server.add_index("cpu", wheel_name())

    assert len(list(public.candidates(tmp_path))) == 1
    assert capsys.readouterr().err.splitlines()[0].startswith("no public wheel for cu124: ")


@pytest.mark.parametrize("fault", ["hangs", "refuses"])
def test_an_unreachable_server_is_tried_once(
    fault: str,
    tmp_path: Path,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "PAGE_S", 0.2)
    monkeypatch.setattr(public, "cuda_version", lambda: (12, 4))
    server.hanging |= {f"/{name}/llama-cpp-python/" for name in ("cu124", "cpu")}
    if fault == "refuses":
        monkeypatch.setenv(public.INDEX, "http://127.0.0.1:1")

    assert list(public.candidates(tmp_path)) == []
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("value", ["off", ""])
def test_the_public_indexes_can_be_skipped(
    value: str, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_index("cpu", wheel_name())
    monkeypatch.setenv(public.INDEX, value)

    assert list(public.candidates(tmp_path)) == []
    assert server.requests == []
