"""Files of messages: by drop and paste, kept with the chat, exported and imported."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.browsers.chatting import (
    DONE,
    DOT,
    LAST,
    chat_id,
    contents,
    go_to,
    kept,
    last_kept,
    new_chat,
    say,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browsers.bidi import Browser
    from tests.server.serving import Served

CHIPS = "[...document.querySelectorAll('.composer .chip span')].map(e => e.innerText).join()"
PICTURE = "document.querySelector('.message.user img.picture')"
IMAGE_OF = f"{PICTURE}?.src === 'data:image/gif;base64,{DOT}' && {PICTURE}.naturalWidth === 1"


def give(page: Browser, kind: str, *files: tuple[str, str, str]) -> None:
    """Drop or paste files of a name, a type and a content in base64, as a desktop does."""
    carrier = "dataTransfer" if kind == "drop" else "clipboardData"
    page.run(
        f"const files = new DataTransfer(); for (const [name, type, data] of {json.dumps(files)})"
        " files.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], name,"
        " { type }));"
        f"const event = new Event('{kind}', {{ bubbles: true, cancelable: true }});"
        f"Object.defineProperty(event, '{carrier}', {{ value: files }});"
        "document.querySelector('#input').dispatchEvent(event);"
    )


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def choose_model(page: Browser, name: str) -> None:
    page.run(
        f"const picker = document.querySelector('.picker'); picker.value = '{name}';"
        "picker.dispatchEvent(new Event('change'));"
    )


def choose(page: Browser, place: int) -> None:
    """Choose an entry of the menu of the chat."""
    page.click("[aria-label='More']")
    page.click(".menu:popover-open button", place)


def ask_about_image(page: Browser, site: Served) -> str:
    """Send a message with an image to the model that sees; return the chat once it is kept."""
    choose_model(page, "other:latest")
    give(page, "paste", ("dot.gif", "image/gif", DOT))
    page.wait(f"{CHIPS} === 'dot.gif'")
    say(page, "say seen")
    last_kept(page, site, 2)
    return chat_id(page)


def images_of(site: Served, chat: str, message: int) -> Any:
    url = f"{site.url}/api/localrun/chats/{chat}/messages/{message}/images"
    return httpx.get(url).json()["images"]


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_dropped_and_pasted_files_are_sent_as_text(page: Browser, site: Served, kind: str) -> None:
    page.click("#input")
    give(page, kind, ("a.py", "text/x-python", encoded("a = 1\n")), ("b", "", encoded("bee")))
    page.wait(f"{CHIPS} === 'a.py,b'")
    page.click("[aria-label='Remove a.py']")
    page.wait(f"{CHIPS} === 'b'")

    say(page, "say read")

    last_kept(page, site, 2)
    assert contents(site, chat_id(page))[0] == "File b:\n```\nbee\n```\n\nsay read"


@pytest.mark.parametrize("length", [4000, 4001])
def test_a_long_text_is_pasted_as_a_file(page: Browser, length: int) -> None:
    page.click("#input")
    taken = page.run(
        "const files = new DataTransfer();"
        f"files.setData('text/plain', 'a'.repeat({length}));"
        "const event = new Event('paste', { bubbles: true, cancelable: true });"
        "Object.defineProperty(event, 'clipboardData', { value: files });"
        "return !document.querySelector('#input').dispatchEvent(event);"
    )

    assert taken is (length > 4000)
    if taken:
        page.wait(f"{CHIPS} === 'pasted.txt'")


def test_a_chat_is_duplicated_with_all_it_has(page: Browser, site: Served) -> None:
    chat = ask_about_image(page, site)

    choose(page, 4)

    page.wait(f"!location.hash.includes('{chat}') && document.querySelector('.message')")
    copy = kept(site, chat_id(page))
    assert contents(site, copy["id"]) == contents(site, chat)
    assert copy["title"] == kept(site, chat)["title"]
    assert images_of(site, copy["id"], copy["messages"][0]["id"]) == [DOT]


def test_files_that_no_model_reads_are_refused_by_name(page: Browser) -> None:
    page.click("#input")
    give(page, "drop", ("a.bin", "", base64.b64encode(b"\xff\x00\x80").decode()))
    page.wait("document.querySelector('.notice.error')?.innerText.includes('a.bin')")
    give(page, "drop", ("a.wav", "audio/wav", encoded("RIFF")), ("b", "video/webm", encoded("a")))

    page.wait(
        "[...document.querySelectorAll('.notice')].filter(e => /hear sounds/.test(e.innerText))"
        ".length === 2"
    )
    assert page.run(f"return {CHIPS};") == ""


def test_an_image_is_shown_before_it_is_sent(page: Browser) -> None:
    choose_model(page, "other:latest")
    give(page, "paste", ("dot.gif", "image/gif", DOT))

    page.wait("document.querySelector('.composer .chip img.picture')?.naturalWidth === 1")

    page.click("[aria-label='Remove dot.gif']")
    page.wait(f"{CHIPS} === ''")


def test_images_are_kept_for_reloads_branches_and_other_windows(
    page: Browser, site: Served
) -> None:
    chat = ask_about_image(page, site)
    first = kept(site, chat)["messages"][0]
    assert (first["num_images"], images_of(site, chat, first["id"])) == (1, [DOT])

    page.open("about:blank")
    page.open(f"{site.url}/#/chat/{chat}")
    page.wait(IMAGE_OF)
    page.run(
        "window.real = fetch; window.fetch = (path, options) => {"
        " if (path === '/api/chat') window.sent = options.body; return real(path, options); };"
    )
    page.click("[aria-label='Regenerate the answer']")
    page.wait(f"document.querySelector('.message.assistant .branches') && {DONE}")
    assert json.loads(page.wait("window.sent"))["messages"][0]["images"] == [DOT]
    page.click(".message.user [aria-label='Edit message']")
    page.press("Enter")
    page.wait(f"document.querySelector('.message.user .branches') && {DONE}")
    page.wait(IMAGE_OF)

    last_kept(page, site, 5)
    edited = kept(site, chat)["messages"][3]
    assert images_of(site, chat, edited["id"]) == [DOT]


def test_pictures_that_load_move_nothing(page: Browser, site: Served) -> None:
    chat = new_chat(site, ("user", "hello"))
    url = f"{site.url}/api/localrun/chats/{chat}/messages"
    httpx.post(url, json={"role": "user", "content": "look", "images": [DOT]})
    httpx.post(url, json={"role": "assistant", "content": "seen"})
    page.run(
        "window.real = fetch; window.fetch = async (path, options) => {"
        " if (path.endsWith('/images')) await new Promise((done) => { window.release = done; });"
        " return real(path, options); };"
    )
    go_to(page, chat)
    page.wait("Boolean(window.release)")
    before = page.run(f"return {LAST}.getBoundingClientRect().top;")

    page.run("window.release();")
    page.wait(IMAGE_OF)

    assert page.run(f"return {LAST}.getBoundingClientRect().top;") == before


def test_a_chat_is_exported_and_imported_with_branches_and_images(
    page: Browser, site: Served, tmp_path: Path
) -> None:
    chat = ask_about_image(page, site)
    page.click("[aria-label='Regenerate the answer']")
    page.wait(f"document.querySelector('.message.assistant .branches') && {DONE}")
    last_kept(page, site, 3)
    path = f"{site.url}/api/localrun/chats/{chat}/export?format="
    page.run(
        "window.saved = []; const { click } = HTMLAnchorElement.prototype;"
        "HTMLAnchorElement.prototype.click = function () {"
        " if (this.matches('[download]')) window.saved.push(this.href); click.call(this); };"
    )
    choose(page, 2)
    choose(page, 3)
    assert page.wait("window.saved.length === 2 && window.saved") == [f"{path}md", f"{path}json"]
    assert "## You\n\n- dot.gif\n\nsay seen" in httpx.get(f"{path}md").text
    exported = httpx.get(f"{path}json")
    assert exported.headers["content-disposition"] == f'attachment; filename="chat-{chat}.json"'
    (tmp_path / "chat.json").write_bytes(exported.content)

    choose(page, 5)
    page.choose_files("#import", tmp_path / "chat.json")

    page.wait(f"!location.hash.includes('{chat}') && document.querySelector('.message')")
    imported = kept(site, chat_id(page))
    assert contents(site, imported["id"]) == contents(site, chat)
    assert images_of(site, imported["id"], imported["messages"][0]["id"]) == [DOT]
    page.wait("document.querySelector('.message.assistant .branches')?.textContent === '2 / 2'")
    page.wait(IMAGE_OF)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "odd.json: "),
        ('{"a": 1}', "odd.json: it is no exported chat"),
        ('{"messages": [{"role": "user", "content": "a"}, {"role": "odd"}]}', "odd.json: role"),
    ],
)
def test_what_is_no_export_is_refused_and_nothing_is_kept(
    page: Browser, site: Served, tmp_path: Path, content: str, reason: str
) -> None:
    before = httpx.get(f"{site.url}/api/localrun/chats").json()
    (tmp_path / "odd.json").write_text(content)
    choose(page, 1)
    page.choose_files("#import", tmp_path / "odd.json")

    page.wait(f"document.querySelector('.notice.error')?.innerText.startsWith('{reason}')")
    assert httpx.get(f"{site.url}/api/localrun/chats").json() == before


def test_a_text_beside_an_image_names_it(page: Browser, site: Served) -> None:
    choose_model(page, "other:latest")
    give(page, "drop", ("dot.gif", "image/gif", DOT), ("a.txt", "text/plain", encoded("abc")))
    page.wait(f"{CHIPS} === 'dot.gif,a.txt'")
    say(page, "say both")

    page.wait(IMAGE_OF)
    last_kept(page, site, 2)
    assert page.text(".message.user .plain") == "say both"
    assert kept(site, chat_id(page))["messages"][0]["attachments"] == ["dot.gif", "a.txt"]


def test_user_messages_in_a_row_are_sent_as_one_with_all_images(page: Browser) -> None:
    sent = page.run(
        "const { Conversation } = await import('/web/conversation.js');"
        "const chat = new Conversation(); chat.isKept = false; let end = null;"
        "for (const images of [undefined, ['a'], undefined, ['b', 'c']])"
        " end = chat.add({ role: 'user', content: 'x', images }, end);"
        "return await chat.request(end);"
    )

    content = "x\n\nx\n\nx\n\nx"
    assert sent == [{"role": "user", "content": content, "images": ["a", "b", "c"]}]


def test_the_oldest_media_of_a_large_chat_are_left_out_and_counted(page: Browser) -> None:
    found = page.run(
        "const { Conversation } = await import('/web/conversation.js');"
        "const chat = new Conversation(); chat.isKept = false; let end = null;"
        "const large = 'a'.repeat(14 << 20);"
        "for (const images of [['b'], [large, large], undefined, [large, 'c']]) {"
        " end = chat.add({ role: 'user', content: 'x', images }, end);"
        " end = chat.add({ role: 'assistant', content: 'y' }, end); }"
        "const sent = await chat.request(end);"
        "return [sent.map((one) => one.images?.map((data) => data[0]).join('')), chat.numLeftOut];"
    )

    assert found == [[None, None, "a", None, None, None, "ac", None], 2]


def test_files_that_are_too_large_together_are_refused_by_name(page: Browser) -> None:
    choose_model(page, "other:latest")
    page.run(
        "const files = new DataTransfer(); for (const name of ['a.png', 'b.png', 'c.pdf'])"
        " files.items.add(new File([new Uint8Array(name === 'c.pdf' ? 9 : 12 << 20)], name,"
        " { type: name === 'c.pdf' ? 'application/pdf' : 'image/png' }));"
        "const event = new Event('drop', { bubbles: true, cancelable: true });"
        "Object.defineProperty(event, 'dataTransfer', { value: files });"
        "document.querySelector('#input').dispatchEvent(event);"
    )

    page.wait(f"{CHIPS} === 'a.png,c.pdf'")
    page.wait("document.querySelector('.notice.error')?.innerText.startsWith('b.png: with the')")


def test_a_drawing_is_text(page: Browser, site: Served) -> None:
    give(page, "drop", ("a.svg", "image/svg+xml", encoded("<svg/>")))
    page.wait(f"{CHIPS} === 'a.svg'")

    say(page, "say drawn")

    last_kept(page, site, 2)
    assert contents(site, chat_id(page))[0].startswith("File a.svg:\n```\n<svg/>\n")


def test_images_are_loaded_once_the_server_is_back(page: Browser, site: Served) -> None:
    chat = new_chat(site, ("user", "hello"))
    url = f"{site.url}/api/localrun/chats/{chat}/messages"
    httpx.post(url, json={"role": "user", "content": "look", "images": [DOT]})
    page.run(
        "window.real = fetch; window.fetch = async (path, options) => {"
        " if (!path.endsWith('/images')) return real(path, options);"
        " window.fetch = real; throw new TypeError('away'); };"
    )

    go_to(page, chat)

    page.wait(IMAGE_OF)


def test_an_import_that_fails_shows_its_first_error(page: Browser) -> None:
    reason = page.run(
        "const { Conversation } = await import('/web/conversation.js');"
        "const real = fetch; window.fetch = async (path, options) => {"
        " return options.method === 'DELETE' ? new Response('no', { status: 500 })"
        " : real(path, options); };"
        "try { await Conversation.keepCopy({ messages: [{ role: 'odd' }] }, 'fake'); }"
        "catch (error) { return error.message; }"
    )

    assert reason.startswith("role must be one of")


@pytest.mark.parametrize("file", ["", "x", "a\n```\n\n\n", "````\n\n"])
def test_a_typed_text_with_code_is_told_from_the_files_before_it(page: Browser, file: str) -> None:
    typed = "look:\n\n```\ncode\n```\n\nwhat is it?"
    content = f"fileBlock('a.md', {json.dumps(file)}) + '\\n\\n' + typed"
    found = page.run(
        "const { fileBlock, typedText } = await import('/web/conversation.js');"
        f"const typed = {json.dumps(typed)}; const content = {content};"
        "return typedText({ content, attachments: ['b.png', 'a.md'] });"
    )

    assert found == typed
