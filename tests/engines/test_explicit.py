"""The wheel that LOCALRUN_ENGINE_WHEEL names, in all of its forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from engines import explicit, fetching
from engines.fetching import WheelError

from tests.engines.wheels import CONTENT, DIGEST, Server, wheel_name

if TYPE_CHECKING:
    from pathlib import Path

WRONG = "0" * 64
pytestmark = pytest.mark.usefixtures("server")


def make_wheel(folder: Path, digest: str | None = None, **parts: str) -> Path:
    wheel = folder / wheel_name(**parts)
    wheel.write_bytes(CONTENT)
    if digest:
        wheel.with_name(f"{wheel.name}.sha256").write_text(f"{digest}  {wheel.name}\n")
    return wheel


def test_a_file_is_compared_with_the_digest_beside_it(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, DIGEST)

    assert explicit.find(str(wheel), tmp_path) == wheel

    wheel.write_bytes(CONTENT[:-1])
    with pytest.raises(WheelError, match="digest"):
        explicit.find(str(wheel), tmp_path)


def test_a_folder_offers_the_wheel_that_fits(tmp_path: Path) -> None:
    for platform in ("win_amd64", "manylinux_2_28_aarch64"):
        make_wheel(tmp_path, platform=platform)
    make_wheel(tmp_path, version="0.0.1")
    wheel = make_wheel(tmp_path)
    (tmp_path / "SHA256SUMS").write_text(f"{WRONG}  other.whl\n{DIGEST} *{wheel.name}\n")

    assert explicit.find(str(tmp_path), tmp_path) == wheel

    (tmp_path / "SHA256SUMS").write_text(f"{WRONG}  {wheel.name}\n")
    with pytest.raises(WheelError, match="SHA256SUMS"):
        explicit.find(str(tmp_path), tmp_path)


def test_a_file_without_a_digest_is_taken_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explicit.find(str(make_wheel(tmp_path)), tmp_path)

    assert "no digest is compared" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"version": "0.0.1"}, "is version 0.0.1; localrun needs"),
        ({"platform": "win_amd64"}, "does not fit: it is for win_amd64, and this is linux_x86_64"),
        ({"platform": "manylinux_2_39_x86_64"}, "with glibc 2.36"),
    ],
)
def test_another_wheel_is_refused_with_the_reason(
    parts: dict[str, str], reason: str, tmp_path: Path, server: Server
) -> None:
    wheel = make_wheel(tmp_path, **parts)
    index = server.add_index("cpu", wheel.name)

    for demanded in (str(wheel), f"{server.url}/files/{wheel.name}#sha256={DIGEST}"):
        with pytest.raises(WheelError, match=reason):
            explicit.find(demanded, tmp_path / "downloads")
    for demanded in (str(tmp_path), index):
        with pytest.raises(WheelError, match=r"has (no )?llama-cpp-python"):
            explicit.find(demanded, tmp_path / "downloads")


@pytest.mark.parametrize("demanded", ["/nonexistent", "/nonexistent/a.whl"])
def test_a_path_that_does_not_exist_is_named(demanded: str, tmp_path: Path) -> None:
    with pytest.raises(WheelError, match=f"{demanded} does not exist"):
        explicit.find(demanded, tmp_path)


def test_an_index_offers_the_pinned_wheel_that_fits(tmp_path: Path, server: Server) -> None:
    others = [wheel_name(version="0.0.1"), wheel_name(platform="macosx_11_0_arm64")]
    index = server.add_index("whl/cpu", *others, wheel_name())

    for demanded in (index, f"{index}/", f"{index}/llama-cpp-python"):
        wheel = explicit.find(demanded, tmp_path)

        assert wheel == tmp_path / wheel_name()
        assert wheel.read_bytes() == CONTENT
        wheel.unlink()


@pytest.mark.parametrize("beside", [".sha256", "SHA256SUMS"])
def test_a_url_takes_its_digest_from_the_file_beside_it(
    beside: str, tmp_path: Path, server: Server
) -> None:
    name = wheel_name()
    sums = f"/files/{name}.sha256" if beside == ".sha256" else "/files/SHA256SUMS"
    server.files |= {f"/files/{name}": CONTENT, sums: f"{DIGEST}  {name}\n".encode()}

    assert explicit.find(f"{server.url}/files/{name}", tmp_path).read_bytes() == CONTENT

    server.files[sums] = f"{WRONG}  {name}\n".encode()
    with pytest.raises(WheelError, match="not installed"):
        explicit.find(f"{server.url}/files/{name}", tmp_path)


def test_a_wrong_digest_leaves_no_file(tmp_path: Path, server: Server) -> None:
    index = server.add_index("cpu", wheel_name(), digest=WRONG)

    with pytest.raises(WheelError, match=f"has the digest {DIGEST}"):
        explicit.find(index, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_truncated_answer_leaves_no_file(tmp_path: Path, server: Server) -> None:
    server.add_index("cpu", wheel_name())
    server.truncated.add(f"/files/{wheel_name()}")

    with pytest.raises(WheelError, match="ended after"):
        explicit.find(f"{server.url}/cpu", tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_an_index_that_hangs_is_not_waited_for(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "PAGE_S", 0.2)
    server.hanging.add("/cpu/llama-cpp-python/")

    with pytest.raises(WheelError, match=r"cannot be read: (timed out|no answer)"):
        explicit.find(f"{server.url}/cpu", tmp_path)


def test_plain_http_needs_the_digest_in_the_variable(tmp_path: Path) -> None:
    for demanded in ("http://example.invalid/whl/cpu", f"http://example.invalid/{wheel_name()}"):
        with pytest.raises(WheelError, match="plain http"):
            explicit.find(demanded, tmp_path)
    with pytest.raises(WheelError, match="cannot be read"):
        explicit.find(f"http://127.0.0.1:1/{wheel_name()}#sha256={DIGEST}", tmp_path)


def test_a_redirect_to_plain_http_is_not_followed(tmp_path: Path, server: Server) -> None:
    server.redirects[f"/{wheel_name()}"] = f"http://example.invalid/{wheel_name()}"

    with pytest.raises(WheelError, match="not secure"):
        explicit.find(f"{server.url}/{wheel_name()}", tmp_path)


def test_another_digest_than_sha256_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match="no sha256 digest"):
        explicit.find(f"https://example.invalid/{wheel_name()}#md5=00", tmp_path)
