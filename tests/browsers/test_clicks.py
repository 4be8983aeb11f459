"""Clicks while the page changes: what is drawn anew between press and release would lose them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.browsers.chatting import DONE, LAST, chat_id, go_to, kept, last_kept, new_chat, say
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.browsers.bidi import Browser
    from tests.server.serving import Served


def test_a_message_of_another_program_arrives_during_a_click(page: Browser, site: Served) -> None:
    chat = new_chat(site, ("user", "hello"))
    go_to(page, chat)
    page.hold(".message.user [aria-label='Edit message']")
    url = f"{site.url}/api/localrun/chats/{chat}/messages"
    httpx.post(url, json={"role": "assistant", "content": "hi"})
    page.wait(f"{LAST}?.innerText.includes('hi')")

    page.release()

    page.wait("document.querySelector('.edit')?.value === 'hello'")


def test_a_chat_is_renamed_during_a_click_on_another(page: Browser, site: Served) -> None:
    first, second = new_chat(site, ("user", "first")), new_chat(site, ("user", "second"))
    entry = f".chat-entry[href='#/chat/{second}']"
    page.wait(f'document.querySelector("{entry}")')
    page.hold(entry)
    httpx.post(f"{site.url}/api/localrun/chats/{first}/title", json={"title": "renamed"})
    page.wait("[...document.querySelectorAll('.chat-entry')].some(e => e.innerText === 'renamed')")

    page.release()

    assert chat_id(page) == second


def test_a_click_that_ends_the_edit_of_a_parameter_counts(page: Browser) -> None:
    if not page.run("return document.hasFocus();"):  # Firefox without a screen
        pytest.skip("a window without the focus does not say that a field was left")
    page.click("[aria-label='Settings of this chat']")
    page.click("#parameter-temperature")
    page.type("0.25")

    page.click("#logprobs")

    page.wait("document.querySelector('#logprobs').checked")
    source = "document.querySelector('label[for=parameter-temperature] .source').innerText"
    page.wait(f"{source} === 'mine'")
    page.click("[aria-label='Reset temperature']")
    page.wait(f"{source} === 'default' && !document.querySelector('#parameter-temperature').value")


def test_a_parameter_out_of_its_range_is_marked_and_not_sent(page: Browser, site: Served) -> None:
    page.click("[aria-label='Settings of this chat']")
    page.click("#parameter-temperature")
    page.type("-3")
    page.press("Enter")
    page.wait("document.querySelector('#parameter-temperature:invalid')")

    say(page, "say hi")

    last_kept(page, site, 2)
    assert "sampling" not in kept(site, chat_id(page))["settings"]


def test_what_the_server_had_before_a_change_here_is_not_taken(page: Browser, site: Served) -> None:
    say(page, "say one")
    last_kept(page, site, 2)
    chat = chat_id(page)
    page.run(
        "window.real = fetch; window.fetch = async (path, options) => {"
        " const response = await real(path, options);"
        " if (!path.endsWith('all=1')) return response;"
        " await new Promise((resolve) => { window.release = resolve; });"
        " window.fetch = real; return response; };"
    )
    httpx.post(f"{site.url}/api/localrun/chats/{chat}/title", json={"title": "renamed"})
    page.wait("Boolean(window.release)")
    page.click("[aria-label='Regenerate the answer']")
    page.wait(f"document.querySelector('.message.assistant .branches') && {DONE}")
    last_kept(page, site, 3)
    page.run("await (await fetch('/healthz')).text();")  # by then the page knows that it is kept
    page.run(f"window.before = {LAST}; window.release();")

    page.wait("document.querySelector('.chat-entry[aria-current]').innerText === 'renamed'")

    page.wait("document.querySelector('.title').innerText === 'renamed'")
    assert page.run(f"return {LAST} === window.before && {LAST}.isConnected;")
    assert page.text(".message.assistant .branches") == "2 / 2"


def test_what_the_server_had_before_a_write_ended_is_not_taken(page: Browser, site: Served) -> None:
    chat = new_chat(site, ("user", "hello"))
    texts = page.run(
        f"""
        const {{ Conversation }} = await import("/web/conversation.js");
        const conversation = await Conversation.open("{chat}");
        const real = fetch;
        const before = await (await real("/api/localrun/chats/{chat}?all=1")).text();
        let [release, answer] = [];
        const isReleased = new Promise((resolve) => {{ release = resolve; }});
        const isAnswered = new Promise((resolve) => {{ answer = resolve; }});
        window.fetch = async (path, options) => {{
          if (path.endsWith("all=1")) return isAnswered.then(() => new Response(before));
          await isReleased;
          return real(path, options);
        }};
        conversation.add({{ role: "user", content: "new" }}, conversation.head);
        const reloaded = conversation.reload();
        release();
        await conversation.writes;
        answer();
        await reloaded;
        window.fetch = real;
        return conversation.messages.map((one) => one.content);
        """
    )

    assert texts == ["hello", "new"]


def test_what_is_typed_while_a_chat_begins_stays(page: Browser, site: Served) -> None:
    page.run(
        "window.real = fetch; window.fetch = async (path, options) => {"
        " const response = await real(path, options);"
        " if (path === '/api/localrun/chats') {"
        "  await new Promise((resolve) => { window.release = resolve; }); window.fetch = real; }"
        " return response; };"
    )
    page.click("#input")
    page.type("say hi")
    page.press("Enter")
    page.wait("Boolean(window.release)")
    page.type("and more")
    page.run("window.release();")

    chat = chat_id(page)

    page.wait("document.querySelector('#input').value === 'and more'")
    wait_until(lambda: len(kept(site, chat)["messages"]) == 2)
    go_to(page, new_chat(site, ("user", "another")))
    go_to(page, chat)
    page.wait("document.querySelector('#input').value === 'and more'")
