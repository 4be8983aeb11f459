from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.errors import AddressInUseError, UsageError
from localrun.server.start import bind, run_server
from localrun.settings import Settings

if TYPE_CHECKING:
    from tests.server.serving import Served

HERE = Path("/nowhere")


def test_another_machines_host_header_is_refused(served: Served) -> None:
    response = httpx.get(f"{served.url}/api/tags", headers={"Host": "evil.example:80"})

    assert response.status_code == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:99", "[::1]:1"])
def test_names_of_this_machine_are_taken(served: Served, host: str) -> None:
    assert httpx.get(f"{served.url}/api/tags", headers={"Host": host}).status_code == 200


def test_pages_of_other_origins_are_refused_and_local_ones_get_cors(served: Served) -> None:
    evil = httpx.get(f"{served.url}/api/tags", headers={"Origin": "https://evil.example"})
    local = httpx.options(
        f"{served.url}/api/chat",
        headers={"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"},
    )

    assert evil.status_code == 403
    assert "access-control-allow-origin" not in evil.headers
    assert local.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_a_body_beyond_the_limit_is_413(served: Served) -> None:
    response = httpx.post(f"{served.url}/api/chat", content=b" " * (65 * 1024 * 1024))

    assert response.status_code == 413


def test_a_request_id_is_echoed_or_made(served: Served) -> None:
    assert httpx.get(served.url, headers={"X-Request-Id": "abc"}).headers["x-request-id"] == "abc"
    assert httpx.get(served.url).headers["x-request-id"]


def test_shutdown_needs_our_own_header(served: Served) -> None:
    url = f"{served.url}/api/localrun/shutdown"

    assert httpx.post(url).status_code == 400
    assert served.shutdowns == []
    assert httpx.post(url, headers={"X-Localrun": "1"}).status_code == 200
    assert served.shutdowns == [True]


def test_an_open_address_without_a_key_is_refused() -> None:
    with pytest.raises(UsageError, match="no API key is set"):
        run_server(Settings(host="0.0.0.0", log_dir=HERE), background=False)  # noqa: S104 - refused


def test_a_taken_address_is_named() -> None:
    with bind(Settings(port=0, log_dir=HERE)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(AddressInUseError, match=str(port)):
            bind(Settings(port=port, log_dir=HERE))
