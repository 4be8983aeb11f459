"""The logins that Docker and podman keep."""

from __future__ import annotations

import base64
import json
import logging
import sys
from typing import TYPE_CHECKING

import pytest

from localrun.registry.oci import accounts as oci_accounts
from localrun.registry.oci.accounts import Account, find_account

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cret:pass"  # noqa: S105 - of a fake
ADA = Account(username="ada", password=SECRET)
AUTH = base64.b64encode(f"ada:{SECRET}".encode()).decode()
DOCKER_KEY = "https://index.docker.io/v1/"

needs_scripts = pytest.mark.skipif(sys.platform == "win32", reason="the helper is a script")


def config(home: Path, value: object) -> Path:
    path = home / ".docker" / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def helper(folder: Path, name: str, script: str) -> dict[str, str]:
    """Write a helper program and return the environment that finds it."""
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!{sys.executable}\nimport sys, json, time\n{script}\n")
    path.chmod(0o700)
    return {"PATH": str(folder)}


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("ghcr.io", "ghcr.io"),
        ("ghcr.io", "https://ghcr.io"),
        ("ghcr.io", "https://GHCR.io/v2/"),
        ("team.example:5000", "team.example:5000"),
        ("docker.io", DOCKER_KEY),
        ("docker.io", "docker.io"),
        ("docker.io", "registry-1.docker.io"),
    ],
)
def test_a_login_is_found_by_its_host(tmp_path: Path, host: str, key: str) -> None:
    config(tmp_path, {"auths": {key: {"auth": AUTH}}})

    assert find_account(host, {}, tmp_path) == ADA


@pytest.mark.parametrize(
    "key", ["ghcr.io.evil.example", "ghcr.io/team", "xghcr.io", "ghcr.io:5000", "docker.io", ""]
)
def test_a_login_of_another_place_is_not_taken(tmp_path: Path, key: str) -> None:
    config(tmp_path, {"auths": {key: {"auth": AUTH}}})

    assert find_account("ghcr.io", {}, tmp_path) is None


@pytest.mark.parametrize(
    ("entry", "account"),
    [
        ({"username": "ada", "password": SECRET}, ADA),
        ({"identitytoken": SECRET}, Account(identity_token=SECRET)),
        ({"auth": base64.b64encode(b"ada:" + SECRET.encode()).decode()}, ADA),
        ({"auth": "not base64"}, None),
        ({"auth": base64.b64encode(b"\xff:\xff").decode()}, None),
        ({"auth": base64.b64encode(b"nobody").decode()}, None),
        ({"auth": 3}, None),
        ({}, None),
        ("text", None),
    ],
)
def test_entries_have_many_forms(tmp_path: Path, entry: object, account: Account | None) -> None:
    config(tmp_path, {"auths": {"ghcr.io": entry}})

    assert find_account("ghcr.io", {}, tmp_path) == account


def test_the_files_are_asked_in_order(tmp_path: Path) -> None:
    places = {
        "REGISTRY_AUTH_FILE": tmp_path / "podman.json",
        "DOCKER_CONFIG": tmp_path / "docker" / "config.json",
        "XDG_RUNTIME_DIR": tmp_path / "run" / "containers" / "auth.json",
        "": tmp_path / ".config" / "containers" / "auth.json",
    }
    environ = {
        "REGISTRY_AUTH_FILE": str(tmp_path / "podman.json"),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }
    for name, path in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        entry = {"username": f"of {name}", "password": SECRET}
        path.write_text(json.dumps({"auths": {"ghcr.io": entry}}))

    for name, path in places.items():
        account = find_account("ghcr.io", environ, tmp_path)
        assert account is not None
        assert account.username == f"of {name}"
        path.unlink()

    assert find_account("ghcr.io", environ, tmp_path) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": []}', "[" * 100_000, "\xff"])
def test_a_damaged_file_is_no_login(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    config(tmp_path, text)

    assert find_account("ghcr.io", {}, tmp_path) is None
    assert SECRET not in caplog.text


def test_a_huge_file_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config(tmp_path, " " * (5 << 20))

    assert find_account("ghcr.io", {}, tmp_path) is None
    assert "ignored " in caplog.text


ECHO = """
assert sys.argv[1:] == ["get"]
print(json.dumps({"Username": "ada of " + sys.stdin.read(), "Secret": "s3cret:pass"}))
"""


@needs_scripts
@pytest.mark.parametrize(("host", "asked"), [("ghcr.io", "ghcr.io"), ("docker.io", DOCKER_KEY)])
@pytest.mark.parametrize("by", ["credsStore", "credHelpers"])
def test_a_helper_is_asked_for_the_host(tmp_path: Path, host: str, asked: str, by: str) -> None:
    environ = helper(tmp_path, "fake", ECHO)
    config(tmp_path, {by: "fake" if by == "credsStore" else {asked: "fake"}})

    account = find_account(host, environ, tmp_path)

    assert account == Account(username=f"ada of {asked}", password=SECRET)


@needs_scripts
def test_a_helper_may_have_a_token(tmp_path: Path) -> None:
    environ = helper(tmp_path, "t", 'print(\'{"Username": "<token>", "Secret": "s3cret:pass"}\')')
    config(tmp_path, {"credsStore": "t"})

    assert find_account("ghcr.io", environ, tmp_path) == Account(identity_token=SECRET)


@needs_scripts
@pytest.mark.parametrize(
    "script",
    [
        'sys.exit("credentials not found in native keychain")',
        'print("s3cret:pass")',
        'print("[]")',
        'print(\'{"Username": "", "Secret": ""}\')',
        "time.sleep(60)",
    ],
)
def test_a_helper_that_knows_nothing_leaves_the_file(
    tmp_path: Path,
    script: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(oci_accounts, "HELPER_TIMEOUT_S", 0.5)
    environ = helper(tmp_path, "fake", script)
    config(tmp_path, {"credsStore": "fake", "auths": {"ghcr.io": {"auth": AUTH}}})

    assert find_account("ghcr.io", environ, tmp_path) == ADA
    assert SECRET not in caplog.text


@pytest.mark.parametrize("name", ["none", "../evil", "a/b", "", "-x", 3, None])
def test_a_helper_that_is_not_there_is_not_run(tmp_path: Path, name: object) -> None:
    config(tmp_path, {"credsStore": name, "auths": {"ghcr.io": {"auth": AUTH}}})

    assert find_account("ghcr.io", {"PATH": str(tmp_path)}, tmp_path) == ADA


@needs_scripts
def test_a_helper_of_the_current_folder_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "docker-credential-a"
    folder.mkdir()
    helper(folder, "x", ECHO)
    (folder / "docker-credential-x").rename(folder / "b")
    monkeypatch.chdir(tmp_path)
    config(tmp_path, {"credsStore": "a/b"})

    assert find_account("ghcr.io", {"PATH": ""}, tmp_path) is None


def test_an_account_does_not_show_its_secret() -> None:
    assert SECRET not in repr(ADA) + repr(Account(identity_token=SECRET))
