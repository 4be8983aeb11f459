"""The login of a server with an API key, in real browsers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from localrun.server.middleware.keys import Keys
from tests.browsers.bidi import PageError
from tests.server.serving import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browsers.bidi import Browser

KEY = "s3cret-key"


@pytest.fixture
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("LOCALRUN_CHATS", str(tmp_path_factory.mktemp("chats")))
        with serving(keys=Keys({"laptop": KEY})) as served:
            yield served


def log_in(browser: Browser, key: str) -> None:
    """Type a key into the field, which has the focus."""
    browser.wait("document.readyState === 'complete' && document.activeElement.id === 'key'")
    browser.type(key)
    browser.wait(f"document.querySelector('#key').value === '{key}'")
    browser.press("Enter")


def test_the_key_opens_the_page_and_scripts_do_not_see_it(browser: Browser, locked: Served) -> None:
    browser.open(f"{locked.url}/")
    log_in(browser, "wrong")
    browser.wait("document.querySelector('[role=alert]')?.hidden === false")

    log_in(browser, KEY)
    browser.wait("document.querySelector('#input')")
    browser.click("#input")
    browser.type("say in")
    browser.press("Enter")
    browser.wait("document.querySelector('.message.assistant .figures')")

    assert browser.run("return document.cookie;") == ""
    browser.open(f"{locked.url}/")
    browser.wait("document.querySelector('.chat-entry')?.innerText === 'say in'")
    browser.open("about:blank")


def test_a_session_that_has_ended_leads_back_to_the_login(browser: Browser, locked: Served) -> None:
    browser.open(f"{locked.url}/")
    log_in(browser, KEY)
    browser.wait("document.querySelector('#input')")

    with contextlib.suppress(PageError):  # the page leaves as soon as a request is refused
        browser.run("await fetch('/logout', { method: 'POST', redirect: 'manual' });")
        browser.run(
            "const { get } = await import('/web/api.js'); get('/api/tags').catch(() => {});"
        )

    browser.wait("document.querySelector('#key')")
    browser.open("about:blank")


def test_logging_out_leads_to_the_login(browser: Browser, locked: Served) -> None:
    browser.open(f"{locked.url}/")
    log_in(browser, KEY)
    browser.wait("document.querySelector('#input')")

    browser.click("#session button")

    browser.wait("document.querySelector('#key')")
    browser.open(f"{locked.url}/")
    browser.wait("document.querySelector('#key')")
    browser.open("about:blank")
