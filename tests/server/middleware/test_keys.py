from __future__ import annotations

import logging
import stat
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.access import Access, load_access
from localrun.errors import StorageError, UsageError
from localrun.server.middleware.authentication import HEALTH
from localrun.server.middleware.keys import Keys, key_of, read_keys
from tests.server.serving import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = {"laptop": "k" * 32, "bot": "b" * 32}
LAPTOP = {"X-Api-Key": KEYS["laptop"]}


@pytest.fixture(scope="module")
def locked() -> Iterator[Served]:
    with serving(keys=Keys(KEYS)) as found:
        yield found


PAGE = {("GET", "/web/{file}"), ("GET", "/login")}  # the same for everybody


def test_every_route_but_health_asks_for_the_key(locked: Served) -> None:
    paths = httpx.get(f"{locked.url}/openapi.json", headers=LAPTOP).json()["paths"]
    found = [
        (method.upper(), path.replace("{name}", "x").replace("{digest}", "sha256:00"))
        for path, methods in paths.items()
        for method in methods
    ]

    assert len(found) > 30
    found.remove(("POST", "/login"))  # which refuses what is no form of its own page
    for method, path in found:
        expected = 200 if path in HEALTH or (method, path) in PAGE else 401
        answer = httpx.request(method, locked.url + path.replace("{file}", "page.css"))
        assert answer.status_code == expected, path


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEYS['laptop']}"},
        {"Authorization": f"bearer  {KEYS['bot']}"},
        {"X-Api-Key": KEYS["laptop"]},
    ],
)
def test_a_key_opens_the_server_in_either_header(locked: Served, headers: dict[str, str]) -> None:
    assert httpx.get(f"{locked.url}/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize("wrong", ["", "k" * 31, "k" * 33, "K" * 32, "ä" * 32])
def test_a_wrong_key_opens_nothing(wrong: str) -> None:
    assert Keys(KEYS).name_of(wrong) is None


def test_who_has_a_key_is_known_by_name() -> None:
    assert Keys(KEYS).name_of(KEYS["bot"]) == "bot"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/chat/completions", ("error", "code")),
        ("/v1/messages", ("error", "type")),
        ("/api/chat", ("code",)),
    ],
)
def test_the_refusal_has_the_shape_of_the_api(
    locked: Served, path: str, field: tuple[str, ...]
) -> None:
    response = httpx.post(locked.url + path, json={}, headers={"Authorization": "Bearer wrong"})

    value: Any = response.json()
    for name in field:
        value = value[name]
    assert value in {"invalid_api_key", "authentication_error"}
    assert response.headers["www-authenticate"] == "Bearer"
    assert "wrong" not in response.text.replace("the API key is wrong", "")


def test_a_page_may_ask_what_is_allowed_before_it_sends_its_key(locked: Served) -> None:
    headers = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Private-Network": "true",
    }

    response = httpx.options(f"{locked.url}/v1/chat/completions", headers=headers)

    assert response.status_code == 204
    assert response.headers["access-control-allow-private-network"] == "true"


def test_a_file_has_keys_with_names_and_without(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# mine\nlaptop 111\n\n  222  \n")
    file.chmod(stat.S_IRUSR)

    keys = read_keys(Access(api_key="000", api_key_file=file))

    holders = [keys.name_of(key) for key in ("000", "111", "222", "333")]
    assert holders == ["LOCALRUN_API_KEY", "laptop", "line 4", None]


@pytest.mark.parametrize("text", ["", "# none", "a b c", "a s3cret\na s3cret2", "a s3crät"])
def test_a_file_that_makes_no_sense_is_refused_without_telling_a_key(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "keys"
    file.write_text(text)

    with pytest.raises(UsageError) as caught:
        read_keys(Access(api_key_file=file))

    assert "s3cr" not in f"{caught.value.message} {caught.value.hint}"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nokeys"):
        read_keys(Access(api_key_file=tmp_path / "nokeys"))


def test_a_file_that_others_can_read_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    file.write_text("laptop 111")
    file.chmod(0o644)

    with caplog.at_level(logging.WARNING):
        read_keys(Access(api_key_file=file))

    assert "chmod 600" in caplog.text


def test_settings_do_not_show_their_key() -> None:
    access = load_access({"LOCALRUN_API_KEY": "s3cret"})

    assert access.api_key == "s3cret"
    assert "s3cret" not in repr(access)


@pytest.mark.parametrize("key", ["with space", "ümlaut", "line\nbreak"])
def test_a_key_that_no_header_can_hold_is_refused_without_telling_it(key: str) -> None:
    with pytest.raises(UsageError, match="LOCALRUN_API_KEY") as caught:
        load_access({"LOCALRUN_API_KEY": key})

    assert key not in caught.value.message


def test_other_kinds_of_authorization_are_no_key() -> None:
    assert key_of({b"authorization": b"Basic abc"}) == ""
