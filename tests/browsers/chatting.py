"""What tests do in a chat of the page, and what the server has kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.browsers.bidi import Browser
    from tests.server.serving import Served

LAST = "[...document.querySelectorAll('.message.assistant')].at(-1)"
DOT = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"  # a GIF of one pixel
DONE = f"{LAST} && !{LAST}.hasAttribute('aria-busy') && {LAST}.querySelector('.actions button')"


def say(page: Browser, text: str) -> None:
    """Send a message, and wait for the end of its answer."""
    begin(page, text)
    page.wait(DONE)


def begin(page: Browser, text: str) -> None:
    """Send a message."""
    page.click("#input")
    page.type(text)
    page.press("Enter")
    page.wait(f"document.querySelector('#input').value === '' && {LAST}")


def answers(page: Browser) -> list[str]:
    found: list[str] = page.run(
        "return [...document.querySelectorAll('.message.assistant .body')].map(e => e.innerText);"
    )
    return [text.strip() for text in found]


def kept(site: Served, chat: str) -> Any:
    url = f"{site.url}/api/localrun/chats/{chat}"
    return httpx.get(url, params={"all": "1"}).json()


def contents(site: Served, chat: str) -> list[str]:
    return [one["content"] for one in kept(site, chat)["messages"]]


def last_kept(page: Browser, site: Served, count: int) -> Any:
    """Return the last message as soon as so many are kept."""
    chat = chat_id(page)
    wait_until(lambda: len(contents(site, chat)) == count)
    return kept(site, chat)["messages"][-1]


def chat_id(page: Browser) -> str:
    found: str = page.wait("location.hash.startsWith('#/chat/') && location.hash.split('/')[2]")
    return found


def new_chat(site: Served, *contents: tuple[str, str], **settings: Any) -> str:
    """Return a kept chat, as another program writes it."""
    body = {"model": "fake:latest", "settings": {"model": "fake:latest", **settings}}
    with httpx.Client(base_url=f"{site.url}/api/localrun/chats") as client:
        chat: str = client.post("", json=body).json()["id"]
        for role, content in contents:
            client.post(f"/{chat}/messages", json={"role": role, "content": content})
    return chat


def go_to(page: Browser, chat: str) -> None:
    page.run(f"location.hash = '#/chat/{chat}';")
    page.wait(
        f"document.querySelector('.chat-entry[aria-current]')?.hash === '#/chat/{chat}'"
        " && document.querySelector('.message')"
    )
