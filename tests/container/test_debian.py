"""Debian packages: digests are checked, and files read without dpkg."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import environment
import pytest
from container import debian

from tests.container.fake_packages import deb

if TYPE_CHECKING:
    from pathlib import Path

DEB = deb(
    "libx", {"usr/lib/libx.so.1": b"bytes", "etc/odd": b"1"}, {"usr/lib/libx.so": "libx.so.1"}
)
PACKAGE = debian.Package(
    name="libx",
    version="1",
    filename="pool/libx.deb",
    sha256=hashlib.sha256(DEB).hexdigest(),
    size=len(DEB),
    snapshot="20260101T000000Z",
)


class Mirror:
    """A stand-in of the network: the bytes of each address."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: bytes) -> None:
        self.asked: list[str] = []
        self.answers = answers
        monkeypatch.setattr(urllib.request, "urlopen", self._open)

    def _open(self, url: str, timeout: float) -> io.BytesIO:
        assert timeout
        self.asked.append(url)
        for host, content in self.answers.items():
            if host in url:
                return io.BytesIO(content)
        raise urllib.error.URLError("404")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_files_and_links_of_a_package_are_read() -> None:
    files = {file.path: file for file in debian.read_files(DEB)}

    assert files["usr/lib/libx.so.1"].content == b"bytes"
    assert files["usr/lib/libx.so"].link == "libx.so.1"
    assert debian.read_control(DEB) == "Package: libx\n"


def test_a_package_is_downloaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = Mirror(monkeypatch, pool=DEB)

    assert debian.fetch(PACKAGE) == debian.fetch(PACKAGE) == DEB
    assert mirror.asked == [f"{debian.MIRROR}/pool/libx.deb"]


def test_a_package_that_the_mirror_dropped_comes_from_a_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Mirror(monkeypatch, snapshot=DEB)

    assert debian.fetch(PACKAGE) == DEB


def test_other_bytes_are_refused_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    Mirror(monkeypatch, pool=b"other")

    with pytest.raises(environment.SetupError, match="digest"):
        debian.fetch(PACKAGE)

    assert not list((environment.cache_folder() / "debian").glob("*"))


def test_the_lock_file_is_written_from_the_index(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stanza = "Package: libc6\nVersion: 2\nDescription: x\n  Package: y\n"
    stanza += "Filename: p.deb\nSHA256: 0a\nSize: 3\n"
    Mirror(monkeypatch, Packages=lzma.compress(f"{stanza}\nPackage: other\n".encode()))

    debian.write_lock(lock=tmp_path / "lock" / "l.json")

    (package,) = debian.locked_packages("arm64", ("libc6",), tmp_path / "lock" / "l.json")
    assert (package.version, package.filename, package.sha256, package.size) == (
        "2",
        "p.deb",
        "0a",
        3,
    )
    assert list(json.loads((tmp_path / "lock" / "l.json").read_text())["packages"]["amd64"]) == [
        "libc6"
    ]
    with pytest.raises(environment.SetupError, match="libz"):
        debian.locked_packages("arm64", ("libz",), tmp_path / "lock" / "l.json")
