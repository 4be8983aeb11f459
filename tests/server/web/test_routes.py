from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import localrun.server.web
from localrun.server.middleware.keys import Keys
from tests.server.serving import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(localrun.server.web.__file__).parent
HTML = {"accept": "text/html,*/*"}
KEY = "k" * 32
PRIVATE = "/api/localrun/chats"
MAX_BYTES = 150_000


@pytest.fixture(scope="module")
def locked() -> Iterator[Served]:
    with serving(keys=Keys({"laptop": KEY})) as found:
        yield found


def log_in(served: Served, key: str = KEY, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{served.url}/login", data={"key": key}, headers={"origin": served.url, **headers}
    )


def cookie_of(answer: httpx.Response) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


def test_the_page_is_small_and_all_its_files_are_served(served: Served) -> None:
    page = httpx.get(served.url, headers=HTML)
    names = {path.name for path in FOLDER.iterdir() if path.suffix in {".js", ".css", ".svg"}}

    answers = [httpx.get(f"{served.url}/web/{name}") for name in names]

    assert {answer.status_code for answer in answers} == {200}
    assert len(page.content) + sum(len(answer.content) for answer in answers) < MAX_BYTES
    named = set(re.findall(r'"/web/([^"]+)"', page.text))
    assert named == names - {"models.js", "machine.js"}
    assert '"/logout" hidden>' in page.text


def test_the_policy_allows_this_server_alone(served: Served) -> None:
    for path in ("/", "/web/app.js"):
        headers = httpx.get(served.url + path, headers=HTML).headers

        policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in headers


def test_files_are_fetched_once(served: Served) -> None:
    url = f"{served.url}/web/page.css"
    tag = httpx.get(url).headers["etag"]

    again = httpx.get(url, headers={"if-none-match": f'"other", {tag}'})

    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["index.html", "routes.py", "nosuch.js", "..%2fapp.py", "%2e%2e"])
def test_nothing_else_is_a_file_of_the_page(served: Served, name: str) -> None:
    assert httpx.get(f"{served.url}/web/{name}").status_code == 404


def test_the_page_has_no_inline_script_or_style() -> None:
    for path in FOLDER.glob("*.html"):
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", path.read_text())
    for path in FOLDER.glob("*.js"):
        assert path.name == "markdown.js" or "innerHTML" not in path.read_text()


def test_no_page_is_served_if_it_is_switched_off() -> None:
    with serving(has_page=False) as served:
        assert httpx.get(served.url, headers=HTML).text == "localrun is running"
        assert httpx.get(f"{served.url}/web/app.js").status_code == 404
        assert httpx.post(f"{served.url}/login").status_code == 404
        assert httpx.get(served.url).text == "Ollama is running"


def test_a_server_with_keys_shows_its_login_page_and_nothing_else(locked: Served) -> None:
    page = httpx.get(locked.url, headers=HTML)

    assert page.status_code == 200
    assert 'type="password"' in page.text
    assert "app.js" not in page.text
    assert httpx.get(locked.url).status_code == 401
    for path in ("/api/tags", PRIVATE, "/metrics"):
        assert httpx.get(locked.url + path, headers=HTML).status_code == 401


def test_a_login_opens_a_session(locked: Served) -> None:
    answer = log_in(locked)

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly; SameSite=Strict" in cookie
    assert KEY not in cookie
    own = {"cookie": cookie_of(answer), "sec-fetch-site": "same-origin"}
    assert httpx.get(locked.url + PRIVATE, headers=own).status_code == 200
    page = httpx.get(locked.url, headers=own | HTML).text
    assert "app.js" in page
    assert '"/logout">' in page
    ended = httpx.post(f"{locked.url}/logout", headers=own | {"origin": locked.url})
    assert "Max-Age=0" in ended.headers["set-cookie"]


def test_a_wrong_key_opens_none(locked: Served) -> None:
    answer = log_in(locked, "wrong")

    assert answer.status_code == 401
    assert '<p role="alert">' in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-site"},  # another port of this machine
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "null"},
    ],
)
def test_a_session_belongs_to_the_pages_of_this_server(
    locked: Served, headers: dict[str, str]
) -> None:
    cookie = cookie_of(log_in(locked))

    answer = httpx.post(
        f"{locked.url}{PRIVATE}", json={"model": "x"}, headers={"cookie": cookie, **headers}
    )

    assert answer.status_code in {401, 403}
    assert log_in(locked, **headers).status_code == 403


def test_a_request_without_any_origin_changes_nothing(locked: Served) -> None:
    cookie = cookie_of(log_in(locked))

    answer = httpx.post(f"{locked.url}{PRIVATE}", json={"model": "x"}, headers={"cookie": cookie})

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "change", [lambda c: c[:-1] + "g", lambda c: c.replace("=1", "=2"), lambda c: c[:40]]
)
def test_a_session_cannot_be_made_up(locked: Served, change: object) -> None:
    assert callable(change)
    cookie = change(cookie_of(log_in(locked)))

    answer = httpx.get(
        locked.url + PRIVATE, headers={"cookie": cookie, "sec-fetch-site": "same-origin"}
    )

    assert answer.status_code == 401


def test_a_long_form_is_refused(locked: Served) -> None:
    assert log_in(locked, "x" * 10_000).status_code == 413


def test_without_keys_there_is_no_login(served: Served) -> None:
    assert httpx.get(f"{served.url}/login").headers["location"] == "/"
