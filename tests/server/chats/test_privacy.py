"""Who may read kept chats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.exceptions import HTTPException

from localrun.server.chats.privacy import refuse_others
from localrun.server.middleware.keys import Keys
from tests.server.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1:11434"


def scope(
    peer: str | None = "127.0.0.1", *, has_api_key: bool = False, **headers: str
) -> dict[str, Any]:
    named = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "client": None if peer is None else (peer, 5),
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "state": {"has_api_key": has_api_key},
    }


@pytest.mark.parametrize(
    "own",
    [
        scope(),
        scope("::1"),
        scope(origin=f"http://{HOST}"),
        scope(origin="http://LocalHost:1", host="localhost:1"),
        scope(sec_fetch_site="same-origin"),
        scope(sec_fetch_site="none"),
        scope("192.168.0.5", origin="https://a.example", has_api_key=True),
    ],
)
def test_programs_and_pages_of_this_machine_and_keys_are_served(own: dict[str, Any]) -> None:
    refuse_others(own)


@pytest.mark.parametrize(
    "other",
    [
        scope("192.168.0.5"),
        scope(None),
        scope(origin="http://localhost:3000"),
        scope(origin="http://127.0.0.1"),
        scope(origin="null"),
        scope(origin="http://[", host=""),
        scope(sec_fetch_site="same-site"),
        scope(sec_fetch_site="cross-site"),
        scope(x_forwarded_for="203.0.113.5"),
        scope(forwarded="for=203.0.113.5"),
    ],
)
def test_all_others_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(HTTPException) as caught:
        refuse_others(other)

    assert caught.value.status_code == 403


def test_a_page_that_may_use_the_models_may_not_read_chats_without_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALRUN_CHATS", str(tmp_path))
    page, key = {"Origin": "http://localhost:3000"}, {"Authorization": "Bearer secret"}
    with serving() as served:
        models = httpx.get(f"{served.url}/api/tags", headers=page).status_code
        chats = httpx.get(f"{served.url}/api/localrun/chats", headers=page).status_code
    with serving(keys=Keys({"page": "secret"})) as served:
        url = f"{served.url}/api/localrun/chats"
        statuses = [httpx.get(url, headers=one).status_code for one in (page, page | key)]

    assert (models, chats) == (200, 403)
    assert statuses == [401, 200]
