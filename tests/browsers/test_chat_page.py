"""The chat page in real browsers: what people do, and what hostile text cannot do."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.browsers.chatting import (
    DONE,
    DOT,
    LAST,
    answers,
    begin,
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

HOSTILE = [
    "<script>hacked=1</script>",
    "<img src=x onerror=hacked=1>",
    "<svg onload=hacked=1>",
    "<iframe srcdoc='<script>parent.hacked=1</script>'>",
    "[a](javascript:hacked=1)",
    "[a](  JaVaScRiPt:hacked=1)",
    "[a](data:text/html,<script>hacked=1</script>)",
    "[a](vbscript:x)",
    "<javascript:hacked=1>",
    "![a](http://evil.example/x.png)",
    '![a](x"onerror=hacked=1)',
    '[a](http://x.example/"onmouseover=hacked=1)',
    "```<img src=x onerror=hacked=1>\n<script>hacked=1</script>\n```",
    '```"onmouseover=hacked=1\nx\n```',
    "`<b onclick=hacked=1>`",
    "$\\text{<img src=x onerror=hacked=1>}$",
    "$\\text{&lt;script&gt;hacked=1&lt;/script&gt;}$",
    "$$\n\\href{javascript:hacked=1}{x}\n$$",
    "\\(\\style{background:url(http://evil.example)}{x}\\)",
    "| <script>hacked=1</script> |\n|---|\n| <img src=x onerror=hacked=1> |",
    "http://x.example/<script>hacked=1</script>",
    "# <object data=javascript:hacked=1>",
    '<a href="javascript&colon;hacked=1">x</a>',
    "&lt;script&gt;hacked=1&lt;/script&gt;",
    "<style>@import 'http://evil.example/x.css';</style>",
    "<form action=http://evil.example><button>x</button></form>",
    "<base href=http://evil.example>",
    "<meta http-equiv=refresh content='0;url=http://evil.example'>",
]


GROWING = (
    "# A\n\npara *one*\ntwo\n\n- x\n- y\n\n```py\nif 1:\n    pass\n```\n\n"
    "| a | b |\n|--|--|\n| 1 | 2 |\n\n$$\na\n$$\n\nend"
)
FROM_END = "const s = document.querySelector('.scroller'); return s.scrollHeight - s.scrollTop"


def test_a_message_is_answered_and_the_chat_is_kept(page: Browser, site: Served) -> None:
    say(page, "say **good** `day`")

    assert answers(page) == ["good day"]
    assert page.run(f"return {LAST}.querySelector('strong').textContent;") == "good"
    assert last_kept(page, site, 2)["content"] == "**good** `day`"
    chat = kept(site, chat_id(page))
    assert chat["title"] == "say **good** `day`"
    page.wait("document.querySelector('.chat-entry[aria-current]')?.innerText.includes('good')")
    page.wait("document.title === 'say **good** `day` · localrun'")


def test_answers_and_edits_are_branches(page: Browser, site: Served) -> None:
    say(page, "say one")
    page.click("[aria-label='Regenerate the answer']")
    page.wait(f"document.querySelectorAll('.branches').length === 1 && {DONE}")
    page.wait("document.querySelector('.message.assistant .branches').textContent === '2 / 2'")

    page.click(".message.assistant [aria-label='Previous branch']")
    page.wait("document.querySelector('.message.assistant .branches')?.textContent === '1 / 2'")
    page.click(".message.user [aria-label='Edit message']")
    page.run("document.querySelector('.edit').select();")
    page.type("say two")
    page.press("Enter")
    page.wait(
        f"document.querySelector('.message.user .branches')?.textContent === '2 / 2' && {DONE}"
    )

    assert answers(page) == ["two"]
    page.click(".message.user [aria-label='Previous branch']")
    page.wait(f"{LAST}.querySelector('.body').innerText.trim() === 'one'")
    page.wait("document.querySelector('.message.user .plain').innerText === 'say one'")
    last_kept(page, site, 5)
    assert contents(site, chat_id(page)) == ["say one", "one", "one", "say two", "two"]


def test_an_answer_is_stopped_and_what_came_is_kept(page: Browser, site: Served) -> None:
    begin(page, "hang")
    page.wait(f"{LAST}?.querySelector('.body').innerText.includes('...')")

    page.press("Escape")

    page.wait(DONE)
    assert last_kept(page, site, 2)["content"] == "..."
    assert page.run(f"return {LAST}.querySelector('.actions').textContent;").strip() == "Continue"
    page.click(".message.assistant .actions .small", -1)
    assert last_kept(page, site, 3)["content"] == "......"


def test_thoughts_are_folded(page: Browser) -> None:
    say(page, "say <think>I wonder</think>done")

    assert answers(page) == ["done"]
    assert page.run(f"return {LAST}.querySelector('.thought').open;") is False
    assert page.run(f"return {LAST}.querySelector('.thought-text').textContent;") == "I wonder"


def test_tool_calls_are_shown(page: Browser) -> None:
    say(page, 'say <tool_call>{"name":"look","arguments":{"at":"<b>"}}</tool_call>')

    assert page.run(f"return {LAST}.querySelector('.call summary').innerText;") == "Calls look"
    assert "<b>" in page.run(f"return {LAST}.querySelector('.call pre').textContent;")


def test_settings_reach_the_request_and_show_their_source(page: Browser, site: Served) -> None:
    page.click("[aria-label='Settings of this chat']")
    page.wait("document.querySelector('#parameter-temperature')")
    before = "document.querySelector('label[for=parameter-temperature] .source').innerText"
    assert page.run(f"return {before};") == "default"
    page.click("#parameter-temperature")
    page.type("0.25")
    page.press("Enter")
    page.wait(f"{before} === 'mine'")
    page.click("#system")
    page.type("Be brief.")
    page.run(
        "const f = document.querySelector('#format'); f.value = 'schema';"
        "f.dispatchEvent(new Event('change'));"
        "document.querySelector('#logprobs').click();"
    )

    say(page, "echo")

    asked = json.loads(last_kept(page, site, 2)["content"])
    assert asked["sampling"]["temperature"] == 0.25
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    assert "answer" in json.dumps(asked["constraint"])
    page.click("[aria-label='Show tokens']")
    assert "%" in page.run(f"return {LAST}.querySelector('.token').title;")
    assert kept(site, chat_id(page))["settings"]["system"] == "Be brief."


def test_two_models_answer_side_by_side(page: Browser, site: Served) -> None:
    page.click("[aria-label='Compare two models']")
    page.wait("document.querySelector('[aria-label=\"Second model\"]').value === 'other:latest'")

    say(page, "say both")

    page.wait("document.querySelectorAll('.pair .message:not([aria-busy]) .figures').length === 2")
    assert answers(page) == ["both", "both"]
    last_kept(page, site, 3)
    models = [one.get("model") for one in kept(site, chat_id(page))["messages"][1:]]
    assert sorted(map(str, models)) == ["fake:latest", "other:latest"]
    page.wait("document.querySelector('.side.chosen .author').innerText === 'fake'")
    page.click(".side:not(.chosen) .actions > .small")
    page.wait("document.querySelector('.side.chosen .author').innerText === 'other'")


def test_files_are_attached_as_text_with_their_tokens(
    page: Browser, site: Served, tmp_path: Path
) -> None:
    file = tmp_path / "<img src=x onerror=hacked=1>.md"
    file.write_text("line ```\n")
    page.choose_files("input[type=file]", file)
    page.wait("document.querySelector('.composer .chip small')?.innerText.endsWith(' tokens')")

    say(page, "say seen")

    last_kept(page, site, 2)
    sent = kept(site, chat_id(page))["messages"][0]
    assert sent["content"].startswith(f"File {file.name}:\n````\nline ```\n````\n\n")
    assert sent["attachments"] == [file.name]
    assert page.text(".message.user .plain") == "say seen"
    assert page.run("return window.hacked ?? null;") is None


def test_images_are_taken_only_if_the_model_sees(page: Browser, tmp_path: Path) -> None:
    picture = tmp_path / "dot.gif"
    picture.write_bytes(base64.b64decode(DOT))
    button = "document.querySelector('[aria-label=\"Attach an image\"]')"
    page.wait(f"{button}.hidden")
    page.choose_files("input[type=file]", picture)
    page.wait("document.querySelector('.notice.error')?.innerText.includes('does not read images')")

    page.run(
        "const picker = document.querySelector('.picker'); picker.value = 'other:latest';"
        "picker.dispatchEvent(new Event('change'));"
        "const real = fetch; window.fetch = (path, options) => {"
        " if (path === '/api/chat') window.sent = options.body; return real(path, options); };"
    )
    page.wait(f"!{button}.hidden")
    page.choose_files("input[type=file]", picture)
    page.wait("document.querySelector('.composer .chip')?.innerText.includes('dot.gif')")
    begin(page, "what is it?")

    (message,) = json.loads(page.wait("window.sent"))["messages"]
    assert message == {"role": "user", "content": "what is it?", "images": [DOT]}
    assert page.run("return document.querySelector('.picture').complete;")


def test_hostile_text_runs_nothing_and_loads_nothing(page: Browser, site: Served) -> None:
    chat = new_chat(site, *(("assistant", text) for text in HOSTILE), ("user", HOSTILE[1]))
    go_to(page, chat)
    page.wait("document.querySelectorAll('.message').length > 5")
    page.run(
        "const { renderText } = await import('/web/markdown.js');"
        "const all = document.createElement('div'); all.className = 'markdown';"
        "document.querySelector('.messages').append(all);"
        f"await Promise.all({json.dumps(HOSTILE)}.map(text => {{ const one ="
        " document.createElement('div'); all.append(one); return renderText(one, text); }));"
        "for (const one of document.querySelectorAll('.message.assistant')) {"
        " one.scrollIntoView(); await new Promise(r => setTimeout(r, 20)); }"
    )
    rendered = (
        "return [...document.querySelectorAll('.messages > .markdown > div > .block')].length;"
    )
    assert page.run(rendered) >= len(HOSTILE)
    page.run(
        "for (const one of document.querySelectorAll('.markdown *'))"
        " for (const kind of ['mouseover', 'focus', 'error', 'load'])"
        "  one.dispatchEvent(new Event(kind));"
        "for (const a of document.querySelectorAll('.markdown a'))"
        " if (!/^https?:/.test(a.href)) a.click();"
    )

    assert page.run("return window.hacked ?? null;") is None
    foreign = "script, img:not(.picture), iframe, object, style, form, base, meta, svg:not(.icon)"
    assert page.run(f"return document.querySelectorAll('.markdown :is({foreign})').length;") == 0


@pytest.mark.parametrize(
    "text", ["say <img src=x onerror=hacked=1>", "say [x](javascript:hacked=1)"]
)
def test_hostile_answers_run_nothing_while_they_stream(page: Browser, text: str) -> None:
    say(page, text)

    assert page.run("return window.hacked ?? null;") is None
    assert page.run(f"return {LAST}.querySelectorAll('.body img, .body a').length;") == 0


def test_chats_of_other_programs_appear_while_the_page_is_open(page: Browser, site: Served) -> None:
    chat = new_chat(site, ("user", "from the terminal"))

    page.wait(f"document.querySelector(\".chat-entry[href='#/chat/{chat}']\")")
    go_to(page, chat)
    page.wait("document.querySelector('.message.user')")
    url = f"{site.url}/api/localrun/chats/{chat}/messages"
    httpx.post(url, json={"role": "assistant", "content": "and *more*"})

    page.wait(f"{LAST}?.querySelector('em')")
    page.wait(
        "document.querySelector('.chat-entry[aria-current]').innerText === 'from the terminal'"
    )


def test_a_chat_that_begins_while_the_page_loads_appears(page: Browser, site: Served) -> None:
    hold = (
        "window.real = fetch; window.fetch = async (path, options) => {"
        " if (path.includes('/changes')) await new Promise((go) => { window.release = go; });"
        " return real(path, options); };"
    )
    page.open("about:blank")
    with page.running_first(hold):
        page.open(f"{site.url}/")
    page.wait("window.release && document.querySelector('.picker')?.value")
    page.run("await (await fetch('/healthz')).text();")  # by then an earlier list has come
    chat = new_chat(site, ("user", "meanwhile"))

    page.run("window.release(); window.fetch = window.real;")

    page.wait(f"document.querySelector(\".chat-entry[href='#/chat/{chat}']\")")


def test_chats_are_searched_and_the_message_is_shown(page: Browser, site: Served) -> None:
    chat = new_chat(site, ("user", "hello"), ("assistant", "the zymurgy of beer"))

    page.press("Control", "k")
    page.type("zymurgy")
    page.wait("document.querySelector('.chat-entry small')?.innerText.includes('zymurgy')")
    page.click(".chat-entry")

    page.wait("document.querySelector('.message.found')")
    assert chat_id(page) == chat


def test_the_chat_is_renamed_and_deleted(page: Browser, site: Served) -> None:
    chat = new_chat(site, ("user", "hello"))
    go_to(page, chat)
    page.click("[aria-label='More']")
    page.click(".menu:popover-open button", 1)
    page.wait("document.querySelector('#asked') === document.activeElement")
    page.type("renamed")
    page.press("Enter")
    page.wait("document.querySelector('.chat-entry[aria-current]')?.innerText === 'renamed'")
    page.wait("document.title === 'renamed · localrun'")

    page.click("[aria-label='More']")
    page.click(".menu:popover-open .danger")
    page.click("dialog .danger")

    page.wait("location.hash === '#/'")
    assert httpx.get(f"{site.url}/api/localrun/chats/{chat}").status_code == 404


def test_long_chats_show_their_end(page: Browser, site: Served) -> None:
    turns = [
        ("user" if n % 2 == 0 else "assistant", f"message **{n}**\n\n- a\n- b") for n in range(80)
    ]
    go_to(page, new_chat(site, *turns))

    page.wait(f"{LAST}?.querySelector('strong')?.textContent === '79'")
    assert page.run(f"{FROM_END} - s.clientHeight;") < 4
    page.run("document.querySelector('.scroller').scrollTop = 0;")
    page.wait("document.querySelectorAll('.message.assistant')[0].querySelector('strong')")


def test_a_text_that_grows_is_rendered_like_a_whole_one(page: Browser) -> None:
    text = GROWING
    same = page.run(
        f"""
        const {{ GrowingMarkdown, renderText }} = await import("/web/markdown.js");
        const [grown, whole] = [document.createElement("div"), document.createElement("div")];
        const growing = new GrowingMarkdown(grown);
        for (const piece of {json.dumps(text)}.match(/[\\s\\S]{{1,3}}/g)) {{
          growing.text += piece;
          await growing.render();
        }}
        const before = [...grown.children];
        await growing.finish();
        await renderText(whole, {json.dumps(text)});
        return [grown.innerHTML === whole.innerHTML, grown.children.length,
                before.every((one, at) => grown.children[at] === one)];
        """
    )

    assert same == [True, 7, True]
