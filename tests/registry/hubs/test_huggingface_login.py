"""The login that ``hf auth login`` keeps, read by us and by its real library."""

from __future__ import annotations

import configparser
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import constants

from localrun.errors import NetworkError, UsageError
from localrun.registry.hubs.huggingface_login import stored_login

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "hf_stored"  # noqa: S105 - nobody's
AGAIN = "hf_again"
DAY_S = 24 * 3600


def store(path: Path, token: str = TOKEN, **more: str) -> None:
    """Write a login as the library does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{token}\n")
    file = configparser.ConfigParser()
    file["mine"] = {"hf_token": token, **more}
    with path.with_name("stored_tokens").open("w") as out:
        file.write(out)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return where the library looks."""
    path = tmp_path / "library" / "token"
    monkeypatch.delenv("HF_OIDC_RESOURCE", raising=False)
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(path))
    stored = path.with_name("stored_tokens")
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(stored))
    return path


@pytest.mark.parametrize(
    ("variable", "value", "path"),
    [
        ("HF_TOKEN_PATH", "~/my token", "my token"),
        ("HF_TOKEN_PATH", "$HOME/t", "t"),
        ("HF_HOME", "~/hf", "hf/token"),
        ("XDG_CACHE_HOME", "$HOME/c", "c/huggingface/token"),
        ("OTHER", "", ".cache/huggingface/token"),
    ],
)
def test_the_file_is_where_the_library_looks_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str, path: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store(tmp_path / path)
    code = "import huggingface_hub.constants as it; print(it.HF_TOKEN_PATH)"

    done = subprocess.run(
        [sys.executable, "-c", code], env={"HOME": str(tmp_path), variable: value},
        check=True, capture_output=True, text=True,
    )  # fmt: skip

    assert done.stdout.strip() == str(tmp_path / path)
    assert stored_login({variable: value}) == TOKEN


def test_nobody_is_logged_in_without_a_file(tmp_path: Path) -> None:
    assert stored_login({"HF_HOME": str(tmp_path)}) is None


def test_a_plain_token_needs_no_library(tmp_path: Path) -> None:
    store(tmp_path / "token")
    code = (
        "import sys; from localrun.registry.hubs.huggingface_login import stored_login;"
        f"print(stored_login({{'HF_HOME': {str(tmp_path)!r}}}), 'huggingface_hub' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.split() == [TOKEN, "False"]


def test_a_login_of_the_browser_is_renewed_by_the_library(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(library, refresh_token=AGAIN, expires_at=str(int(time.time()) - DAY_S))
    fresh = {"access_token": "hf_fresh", "expires_in": 9 * DAY_S}
    monkeypatch.setattr("huggingface_hub.utils._auth.refresh_access_token", lambda _: fresh)

    assert stored_login({"HF_TOKEN_PATH": str(library)}) == "hf_fresh"
    assert library.read_text() == "hf_fresh"


def test_a_ci_system_whose_token_cannot_be_had_is_told(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("GITHUB_ACTIONS", "HF_OIDC_ID_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_OIDC_RESOURCE", "models/a/b")

    with pytest.raises(NetworkError, match=r"cannot read the login for hf\.co"):
        stored_login({"HF_TOKEN_PATH": str(library), "HF_OIDC_RESOURCE": "models/a/b"})


def test_a_login_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")

    for path in (tmp_path, tmp_path / "bytes"):
        with pytest.raises(NetworkError, match=r"cannot read the login for hf\.co"):
            stored_login({"HF_TOKEN_PATH": str(path)})


def test_what_no_token_can_be_is_told_without_it(tmp_path: Path) -> None:
    store(tmp_path / "token", "hf a")

    with pytest.raises(UsageError, match="the stored login") as caught:
        stored_login({"HF_HOME": str(tmp_path)})

    assert "hf a" not in str(caught.value)
