from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from localrun.backends.folder import read_modules
from localrun.backends.manifest import EngineBuild
from localrun.backends.state import INSTALLED, BackendState
from localrun.errors import (
    BackendError,
    IntegrityError,
    LocalrunError,
    NetworkError,
    NotFoundError,
    UsageError,
)
from localrun.hardware.cpu import read_cpu
from localrun.hardware.device import Machine, UnusedDevice
from localrun.services.machine import backends
from localrun.services.machine.backends import add_backend, overview, remove_backend
from localrun.settings import load_settings
from tests.backends.modules import packed
from tests.hardware.making import cpu, gpu

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

STATES = (
    BackendState(backend="cuda", source="engine", library="", is_loaded=False, reason="why"),
    BackendState(backend="vulkan", source=INSTALLED, library="v.so", is_loaded=True),
    BackendState(backend="rocm", source=INSTALLED, library="r.so", is_loaded=True, reason="none"),
)
MACHINE = Machine(
    devices=(gpu("Vulkan"), cpu()),
    cpu=read_cpu(),
    backends=STATES,
    unused=(UnusedDevice("a card", "no driver", "apt"),),
    engine=EngineBuild(llama_cpp_python="0.3.36", ggml="0.25.3", commit="0c1e570"),
)
SETTINGS = load_settings({})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "data" / "localrun" / "backends"


def probe(_environ: Mapping[str, str]) -> Machine:
    return MACHINE


def add(source: str, sha256: str | None = None) -> str:
    return add_backend(source, SETTINGS, {}, sha256=sha256, probe=probe).backend


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    """Serve a package on loopback, under any path but /missing."""
    content = packed(tmp_path / "site", "vulkan").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if self.path == "/missing" else 200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/vulkan.zip"
        server.shutdown()
        thread.join()


def digest(tmp_path: Path) -> str:
    return hashlib.sha256((tmp_path / "site" / "vulkan.zip").read_bytes()).hexdigest()


def test_a_file_is_installed_and_probed(tmp_path: Path, folder: Path) -> None:
    assert add(str(packed(tmp_path, "vulkan"))) == "vulkan"
    assert [module.manifest.backend for module in read_modules(folder).modules] == ["vulkan"]

    remove_backend("vulkan")

    assert read_modules(folder).modules == ()
    with pytest.raises(NotFoundError):
        remove_backend("vulkan")
    with pytest.raises(UsageError, match="is not a backend"):
        remove_backend("../vulkan")


def test_a_url_is_installed_by_its_digest(tmp_path: Path, folder: Path, website: str) -> None:
    add(f"{website}#sha256={digest(tmp_path)}")
    add(website, digest(tmp_path).upper())

    assert len(read_modules(folder).modules) == 1
    assert [path for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("suffix", "sha256", "kind", "reason"),
    [
        ("", None, UsageError, "needs its digest"),
        ("#sha256=12", None, UsageError, "not a SHA-256"),
        ("", "0" * 64, IntegrityError, "has the digest"),
    ],
)
def test_a_url_without_its_digest_is_refused(
    folder: Path,
    website: str,
    suffix: str,
    sha256: str | None,
    kind: type[LocalrunError],
    reason: str,
) -> None:
    with pytest.raises(kind, match=reason):
        add(website + suffix, sha256)

    assert read_modules(folder).modules == ()


def test_a_download_that_fails_or_never_ends_is_told(
    tmp_path: Path, website: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = digest(tmp_path)
    with pytest.raises(NetworkError, match="404"):
        add(website.replace("vulkan.zip", "missing"), wanted)
    monkeypatch.setattr(backends, "MAX_PACKAGE_BYTES", 10)
    with pytest.raises(NetworkError, match="more than 10 bytes"):
        add(website, wanted)


def test_an_address_without_tls_elsewhere_is_refused() -> None:
    with pytest.raises(UsageError, match="https"):
        add("http://example.org/vulkan.zip", "0" * 64)
    with pytest.raises(UsageError, match="https"):
        add("ftp://example.org/vulkan.zip", "0" * 64)


@pytest.mark.parametrize(
    "other", [{"llama_cpp_commit": "4df29be4f"}, {"platform": "win32-x86_64"}, {"glibc": "9.0"}]
)
def test_a_module_that_does_not_fit_is_not_installed(
    tmp_path: Path, folder: Path, other: dict[str, str]
) -> None:
    with pytest.raises(BackendError, match="does not fit") as caught:
        add(str(packed(tmp_path, "vulkan", None, **other)))

    assert next(iter(other.values())) in caught.value.message
    assert "localrun-backend-vulkan-0.3.36-" in str(caught.value.hint)
    assert read_modules(folder).modules == ()


def test_a_wrong_digest_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        add(str(packed(tmp_path, "vulkan")), "0" * 64)


def test_the_overview_names_what_is_used_and_why_the_rest_is_not() -> None:
    found = overview(SETTINGS, {}, probe)

    states = {row.backend: (row.state, row.devices, row.reason) for row in found.rows}
    assert states == {
        "cuda": ("skipped", (), "why"),
        "vulkan": ("used", ("vulkan:0",), ""),
        "rocm": ("no device", (), "none"),
    }
    assert found.chosen == ("vulkan:0",)
    assert "0c1e570" in found.engine
    assert found.notes == ("a card is not used: no driver: apt",)


def test_a_llama_cpp_that_does_not_load_is_an_error() -> None:
    broken = replace(MACHINE, engine=None, failure="libcudart is missing")

    with pytest.raises(BackendError, match="libcudart"):
        overview(SETTINGS, {}, lambda _: broken)
