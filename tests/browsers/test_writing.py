"""Templates, personas, forms of answers, probabilities and all keys of the page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.browsers.chatting import (
    DONE,
    LAST,
    answers,
    begin,
    chat_id,
    contents,
    go_to,
    last_kept,
    new_chat,
    say,
)
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.browsers.bidi import Browser
    from tests.server.serving import Served

INPUT = "document.querySelector('#input')"
PANEL = "document.querySelector('.panel')"
TEMPLATES, PERSONAS = "[aria-label='Prompt templates']", "[aria-label='Personas']"


def name_it(page: Browser, name: str) -> None:
    """Type a name into the dialog that asks for one."""
    page.wait("document.activeElement === document.querySelector('#asked')")
    page.run("document.activeElement.select();")
    page.type(name)
    page.press("Enter")
    page.wait("!document.querySelector('dialog')")


def test_a_template_is_saved_used_and_deleted(page: Browser) -> None:
    page.click("#input")
    page.type("say {{what}}!")
    page.click(TEMPLATES)
    page.click(".menu:popover-open button", 0)
    name_it(page, "exclaim")
    page.run(f"{INPUT}.select();")
    page.press("Backspace")
    page.click(TEMPLATES)
    page.click(".menu:popover-open button", 0)
    page.wait(f"{INPUT}.value === 'say {{{{what}}}}!' && document.activeElement === {INPUT}")
    page.type("well")
    page.press("Enter")
    page.wait(DONE)
    assert answers(page) == ["well!"]

    page.click(TEMPLATES)
    page.click(".menu:popover-open .danger")
    page.click("dialog .danger")
    page.wait("!document.querySelector('dialog')")

    page.click(TEMPLATES)
    page.wait("document.querySelectorAll('.menu:popover-open button').length === 1")


def test_a_persona_is_saved_chosen_and_deleted(page: Browser, site: Served) -> None:
    page.click("[aria-label='Settings of this chat']")
    page.click("#system")
    page.type("Be a pirate.")
    page.click(PERSONAS)
    page.click(".menu:popover-open button", 0)
    name_it(page, "pirate")
    page.press("Alt", "n")
    page.wait(f"{PANEL}.hidden")
    page.press("Alt", "s")
    page.click(PERSONAS)
    page.wait("document.querySelector('.menu:popover-open button').innerText === 'pirate'")
    page.click(".menu:popover-open button", 0)
    page.wait("document.querySelector('label[for=system] .source').innerText === 'mine'")

    say(page, "echo")

    asked = json.loads(last_kept(page, site, 2)["content"])
    assert asked["messages"][0] == {"role": "system", "content": "Be a pirate."}
    page.click(PERSONAS)
    page.wait("document.querySelector('.menu:popover-open button').innerText === '✓ pirate'")
    page.click(".menu:popover-open .danger")
    page.click("dialog .danger")
    page.wait("!document.querySelector('dialog')")
    page.click(PERSONAS)
    page.wait("document.querySelectorAll('.menu:popover-open button').length === 1")


def test_a_schema_binds_the_answer_and_a_wrong_one_is_explained(
    page: Browser, site: Served
) -> None:
    page.click("[aria-label='Settings of this chat']")
    page.wait("document.querySelector('#format')")
    schema = "document.querySelector('[aria-label=\"JSON Schema\"]')"
    write = f"{schema}.value = %s; {schema}.dispatchEvent(new Event('input'));"
    page.run(
        "const form = document.querySelector('#format'); form.value = 'schema';"
        "form.dispatchEvent(new Event('change'));" + write % "'[1'"
    )
    page.wait("document.querySelector('.panel .state').innerText.length > 5")
    page.run(write % json.dumps('{"type": "object", "properties": {"pirates": {}}}'))
    page.wait("document.querySelector('.panel .state').innerText === ''")

    say(page, "echo")

    asked = json.loads(last_kept(page, site, 2)["content"])
    assert "pirates" in json.dumps(asked["constraint"])


def test_probabilities_are_shown_by_token_with_alternatives(page: Browser) -> None:
    page.click("[aria-label='Settings of this chat']")
    page.click("#logprobs")
    say(page, "say some words")

    page.click("[aria-label='Show tokens']")

    tokens = f"[...{LAST}.querySelectorAll('.token')]"
    assert page.run(f"return {tokens}.map(e => e.textContent).join('');") == "some words"
    tip = page.run(f"return {tokens}[0].title;")
    assert tip.splitlines()[:3] == ['"some" 61 %', "", '"s" 37 %']
    page.click("[aria-label='Show tokens']")
    page.wait(f"{LAST}.querySelector('.tokens').hidden && !{LAST}.querySelector('.body').hidden")


def test_keys_go_to_the_views_and_to_what_they_open(page: Browser) -> None:
    page.press("Alt", "2")
    page.wait("document.querySelector('.view-title')?.innerText === 'Models'")
    page.press("Alt", "3")
    page.wait("document.querySelector('.view-title')?.innerText === 'Machine'")
    page.press("Alt", "1")
    page.wait(INPUT)
    page.press("Alt", "m")
    page.wait("document.activeElement.classList.contains('picker')")
    page.press("Alt", "s")
    page.wait(f"!{PANEL}.hidden && document.activeElement.id === 'system'")
    page.press("Escape")
    page.wait(f"{PANEL}.hidden")
    page.press("Control", "k")
    page.wait("document.activeElement.type === 'search'")
    page.press("Control", "/")
    page.wait("document.querySelector('dialog .shortcuts')")
    page.press("Escape")
    page.wait("!document.querySelector('dialog')")


def test_escape_closes_a_menu_and_not_the_answer_behind_it(page: Browser) -> None:
    begin(page, "hang")
    page.wait(f"{LAST}?.querySelector('.body').innerText.includes('...')")
    page.click("[aria-label='More']")
    page.wait("document.querySelector('.menu:popover-open button') === document.activeElement")

    page.press("Escape")
    page.wait("!document.querySelector('.menu:popover-open')")

    assert page.run(f"return {LAST}.getAttribute('aria-busy');") == "true"
    page.press("Escape")
    page.wait(DONE)


def test_a_message_without_a_model_stays_in_its_field(page: Browser, site: Served) -> None:
    page.open("about:blank")
    with page.running_first(
        "const real = fetch; window.fetch = (path, options) => path === '/api/tags'"
        " ? Promise.resolve(new Response('{\"models\": []}')) : real(path, options);"
    ):
        page.open(f"{site.url}/")
    page.click("#input")
    page.type("say hi")
    page.press("Enter")

    page.wait("document.querySelector('.notice.error')?.innerText.includes('Choose a model')")
    assert page.run(f"return {INPUT}.value;") == "say hi"
    page.run("sessionStorage.clear();")  # of the draft, for the next test


def test_keys_write_send_edit_copy_and_regenerate(page: Browser, site: Served) -> None:
    page.run("navigator.clipboard.writeText = async (text) => { window.copied = text; };")
    page.click("#input")
    page.type("say a")
    page.press("Shift", "Enter")
    page.type("b")
    page.press("Enter")
    page.wait(DONE)
    last_kept(page, site, 2)
    assert contents(site, chat_id(page)) == ["say a\nb", "a\nb"]
    page.press("Alt", "c")
    assert page.wait("window.copied") == "a\nb"
    page.press("Alt", "r")
    page.wait(f"{LAST}.querySelector('.branches')?.innerText.trim() === '2 / 2' && {DONE}")
    page.click("#input")
    page.press("ArrowUp")
    page.wait("document.activeElement.classList.contains('edit')")
    page.press("Escape")
    page.wait("!document.querySelector('.edit')")
    last_kept(page, site, 3)
    page.press("Alt", "n")
    page.wait("location.hash === '#/' && document.querySelector('.welcome')")


def test_code_is_copied_without_its_last_line_end(page: Browser, site: Served) -> None:
    page.run("navigator.clipboard.writeText = async (text) => { window.copied = text; };")
    go_to(page, new_chat(site, ("user", "code"), ("assistant", "```py\nif 1:\n    pass\n```")))
    page.wait(f"{LAST}?.querySelector('.code')")

    page.click("[aria-label='Copy code']")

    assert page.wait("window.copied") == "if 1:\n    pass"


@pytest.mark.parametrize("text", ["die", "fail"])
def test_an_answer_that_fails_says_why_and_can_be_asked_again(
    page: Browser, site: Served, text: str
) -> None:
    begin(page, text)

    page.wait(f"{LAST}.querySelector('.state.error')")

    page.wait("document.querySelector('[aria-label=\"Regenerate the answer\"]:not(:disabled)')")
    assert page.run(f"return {INPUT}.disabled;") is False
    chat = chat_id(page)
    wait_until(lambda: contents(site, chat)[:1] == [text])


def test_right_to_left_long_and_chinese_text_stay_in_the_window(
    page: Browser, site: Served
) -> None:
    texts = [
        "שלום עולם",
        "x" * 3000,
        "漢字" * 800,
        "`" + "y" * 2000 + "`",
        "| a | b |\n|-|-|\n" + "|zz|" * 60,
    ]
    page.resize(360, 800)
    go_to(page, new_chat(site, *(("assistant", text) for text in texts)))
    page.wait(f"{LAST}?.querySelector('.block')")

    assert page.run("return document.documentElement.scrollWidth;") == 360
    hebrew = "document.querySelector('.message .block > *')"
    assert page.run(f"return getComputedStyle({hebrew}).direction;") == "rtl"
