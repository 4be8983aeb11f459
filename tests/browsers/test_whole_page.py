"""The page of the whole program in real browsers: models and machine, on the embedded model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.browsers.conftest import check_left
from tests.e2e.conftest import Home, make_home
from tests.e2e.test_sight import digit
from tests.fakes.faults import Fault
from tests.fakes.hub import FakeHub, fake_hub
from tests.services.making import gguf
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browsers.bidi import Browser

CARD = "document.querySelector('.card[aria-label=\"{}\"]')"
AXE = os.environ.get("LOCALRUN_TEST_AXE", "")
FRAMES = "for (const _ of [1, 2]) await new Promise((done) => requestAnimationFrame(done));"
VIEWS = ("#/", "#/models", "#/machine")


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with fake_hub() as found:
        found.add("owner/large-GGUF", {"model-Q4_K_M.gguf": gguf(1, 3_000_000)})
        yield found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, hub: FakeHub) -> Iterator[Home]:
    found = make_home(tmp_path_factory.mktemp("home"))
    found.environ.update(HF_ENDPOINT=hub.url, MODELSCOPE_ENDPOINT=hub.url)
    assert found.run("load", "guide").returncode == 0
    yield found
    found.run("stop", "--server")


@pytest.fixture
def page(browser: Browser, home: Home) -> Iterator[Browser]:
    browser.resize(1280, 900)
    browser.open("about:blank")
    browser.requests.clear()
    browser.errors.clear()
    browser.open(f"{home.url}/")
    browser.wait("document.querySelector('#input')")
    yield browser
    check_left(browser)


def go_to(page: Browser, view: str) -> None:
    page.run(f"location.hash = '#/{view}';")
    page.wait(f"document.querySelector('.view-title')?.innerText.toLowerCase() === '{view}'")


def names(home: Home) -> list[str]:
    return [model["name"] for model in httpx.get(f"{home.url}/api/tags").json()["models"]]


def test_guide_answers_and_the_terminal_has_the_chat(page: Browser, home: Home) -> None:
    page.click("#input")
    page.type("What is a Modelfile?")
    page.press("Enter")

    page.wait("document.querySelector('.message.assistant .figures')?.innerText.includes('/s')")
    page.wait(
        "/^\\d+ \\/ 2,048 tokens$/.test(document.querySelector('.composer-status').innerText)"
    )
    chat = page.run("return location.hash.split('/')[2];")
    wait_until(lambda: "Modelfile" in home.run("chats", "show", chat).stdout.partition("guide")[2])


def test_guide_calculates_with_what_it_sees(page: Browser, tmp_path: Path) -> None:
    page.wait("document.querySelector('[aria-label=\"Attach an image\"]')?.hidden === false")
    (tmp_path / "seven.png").write_bytes(digit("7"))
    page.choose_files("input[type=file]", tmp_path / "seven.png")
    page.wait("document.querySelector('.composer .chip')?.innerText.includes('seven.png')")
    page.click("#input")
    page.type("What is this + 4?")
    page.press("Enter")
    answer = "document.querySelector('.message.assistant .body')?.innerText.trim()"

    page.wait("document.querySelector('.message.assistant .figures')")
    assert page.run(f"return {answer};") == "7 + 4 = 11."
    address = page.run("return location.href;")
    page.open("about:blank")
    page.open(address)
    page.wait("document.querySelector('.message.user img.picture')?.naturalWidth === 96")
    page.click("[aria-label='Regenerate the answer']")
    page.wait(
        "document.querySelector('.message.assistant .branches')?.innerText.trim() === '2 / 2'"
    )
    page.wait("document.querySelector('.message.assistant .figures')")
    assert page.run(f"return {answer};") == "7 + 4 = 11."


def test_a_model_is_planned_loaded_pinned_and_unloaded(page: Browser, home: Home) -> None:
    go_to(page, "models")
    card = CARD.format("guide:latest")
    page.wait(f"{card}?.innerText.includes('Loaded')")
    selector = ".card[aria-label='guide:latest']"

    page.click(f"{selector} footer button", 1)
    page.wait(f"{card}.innerText.includes('fits: on the processor')")
    page.click(f"{selector} .model-state button", 0)
    page.wait(f"{card}.innerText.includes('Not loaded')")
    page.click(f"{selector} .model-state button", 1)
    page.wait(f"{card}.innerText.includes('Pinned')")
    assert "guide" in home.run("ps").stdout


def test_a_recipe_is_checked_created_and_deleted(page: Browser, home: Home) -> None:
    go_to(page, "models")
    page.click(".view .bar button", -1)
    page.wait("document.querySelector('.gutter div')")
    page.run(
        "const area = document.querySelector('.recipe');"
        "area.value = 'FROM guide\\nPARAMETER temprature 1\\nADAPTER /etc/passwd';"
        "area.dispatchEvent(new Event('input'));"
    )
    page.wait("document.querySelectorAll('.marks .error').length === 2")
    assert page.run("return document.querySelector('.gutter').innerText;").split() == [
        "1", "2", "●", "3", "●",
    ]  # fmt: skip
    page.run(
        "const area = document.querySelector('.recipe');"
        "area.value = 'FROM guide\\nSYSTEM Be brief.';"
        "area.dispatchEvent(new Event('input'));"
    )
    page.wait("document.querySelectorAll('.marks .error').length === 0")
    page.click("#recipe-name")
    page.type(f"mine-{page.name}")
    page.click("dialog .primary")
    wait_until(lambda: f"mine-{page.name}:latest" in names(home))

    page.wait(CARD.format(f"mine-{page.name}:latest"))
    page.click(f".card[aria-label='mine-{page.name}:latest'] footer .danger")
    page.click("dialog .danger")
    wait_until(lambda: f"mine-{page.name}:latest" not in names(home))


def test_a_model_is_found_pulled_and_the_pull_is_cancelled(
    page: Browser, home: Home, hub: FakeHub
) -> None:
    go_to(page, "models")
    page.click(".pull input")
    page.type("large")
    page.click(".pull button", 1)
    page.wait("document.querySelector('.cards strong')?.innerText.includes('owner/large-GGUF')")
    hub.faults.append(Fault.stall(300_000, path="model-Q4_K_M.gguf", count=9))

    page.click(".cards .small")
    page.wait("document.querySelector('progress')?.value > 0.05")
    page.click(".card[class~=row] .small")
    page.wait("!document.querySelector('progress')")
    assert not [name for name in names(home) if "large" in name]

    hub.faults.clear()
    page.click(".cards .small")
    page.wait("document.querySelector('article[aria-label*=\"large\"] footer')")
    (name,) = [name for name in names(home) if "large" in name]
    assert home.run("rm", name, "--yes").returncode == 0


def test_a_pull_that_fails_says_why(page: Browser) -> None:
    go_to(page, "models")
    page.click(".pull input")
    page.type("../nosuch")
    page.press("Enter")

    page.wait("document.querySelector('.notice.error')?.innerText.includes('../nosuch')")


def test_the_machine_is_shown(page: Browser) -> None:
    go_to(page, "machine")

    page.wait("document.querySelector('.log')?.innerText.includes('listening on')")
    page.wait("document.querySelector('tbody')?.innerText.includes('guide')")
    assert page.run("return document.querySelector('meter').value;") > 0
    page.wait("/,.* /.test(document.querySelector('.chart polyline').getAttribute('points'))")
    page.click(".card > button")
    page.wait("document.querySelector('.findings')?.innerText.includes('store')")


def test_the_page_goes_on_after_a_restart_of_the_server(page: Browser, home: Home) -> None:
    page.click("#input")
    page.type("What is ")
    home.run("stop", "--server")
    page.type("a LoRA?")
    page.press("Enter")
    page.wait("document.body.classList.contains('away')")

    assert home.run("load", "guide").returncode == 0

    page.wait("!document.body.classList.contains('away')")
    assert page.text(".message.user .plain") == "What is a LoRA?"
    chat = page.wait("location.hash.startsWith('#/chat/') && location.hash.split('/')[2]")
    wait_until(lambda: "What is a LoRA?" in home.run("chats", "show", chat).stdout)
    page.wait("document.querySelector('[aria-label=\"Regenerate the answer\"]:not(:disabled)')")
    page.click("[aria-label='Regenerate the answer']")
    page.wait("document.querySelector('.message.assistant .figures')")


@pytest.mark.skipif(not AXE, reason="no axe-core: scripts/test fetches it by npm")
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing_serious(page: Browser, width: int) -> None:
    page.resize(width, 844)
    page.run(Path(AXE).read_text() + "\nwindow.axe = axe;")
    for theme in ("light", "dark"):
        for view in VIEWS:
            page.run(
                f"document.documentElement.dataset.theme = '{theme}'; location.hash = '{view}';"
            )
            page.wait("document.querySelector('#main > section')")
            if view == "#/" and width > 400:
                page.click("[aria-label='Settings of this chat']")
                page.wait("document.querySelector('.parameter')")
            found = page.run(
                "await new Promise(r => setTimeout(r, 200));"
                "const { violations } = await axe.run({ resultTypes: ['violations'] });"
                "return violations.filter(v => ['serious', 'critical'].includes(v.impact))"
                " .map(v => [v.id, ...v.nodes.map(n => n.html.slice(0, 120))]);"
            )
            assert found == [], (theme, view)


@pytest.mark.parametrize("width", [360, 768, 1440, 3840])
def test_nothing_is_wider_than_the_window(page: Browser, width: int) -> None:
    page.resize(width, 900)
    for view in VIEWS:
        page.run(f"location.hash = '{view}'; await new Promise(r => setTimeout(r, 100));")
        wide = page.run("return document.documentElement.scrollWidth;")
        assert wide <= width


def long_answers(home: Home) -> str:
    """Return a chat whose answers have 400 tokens."""
    sampling = {"num_predict": 400, "ignore_eos": True, "seed": 1}
    body = {"model": "guide", "settings": {"model": "guide:latest", "sampling": sampling}}
    chat: str = httpx.post(f"{home.url}/api/localrun/chats", json=body).json()["id"]
    return chat


def test_the_layout_does_not_shift_while_an_answer_streams_and_ends(
    page: Browser, home: Home
) -> None:
    if not page.run("return PerformanceObserver.supportedEntryTypes.includes('layout-shift');"):
        pytest.skip(f"{page.name} does not report shifts of the layout")
    page.run(f"location.hash = '#/chat/{long_answers(home)}';")
    page.wait("document.querySelector('.chat-entry[aria-current]')")
    page.run(
        f"{FRAMES} window.shifts = []; new PerformanceObserver((list) => window.shifts.push("
        "...list.getEntries().filter((one) => !one.hadRecentInput).map((one) => one.value)"
        ")).observe({ type: 'layout-shift' });"
    )
    page.click("#input")
    page.type("go on")
    page.press("Enter")
    page.wait("document.querySelector('.message.assistant .figures')")
    page.run(FRAMES)

    assert page.run("return window.shifts;") == []


def test_nothing_moves_under_a_reader_who_has_scrolled_up(page: Browser, home: Home) -> None:
    chat = long_answers(home)
    for role in ("user", "assistant") * 3:
        message = {"role": role, "content": "line\n" * 30}
        httpx.post(f"{home.url}/api/localrun/chats/{chat}/messages", json=message)
    page.run(f"location.hash = '#/chat/{chat}';")
    page.wait("document.querySelectorAll('.message .block').length === 3")
    page.click("#input")
    page.type("go on")
    page.press("Enter")
    page.wait("document.querySelector('.message[aria-busy]')")
    page.wait("document.querySelectorAll('.message.assistant .block').length >= 4")
    page.run(f"document.querySelector('.scroller').scrollTop = 400; {FRAMES}")
    place = "return [...document.querySelectorAll('.message')].slice(0, 3)"
    tops = page.run(f"{place}.map(e => e.getBoundingClientRect().top);")

    page.wait("document.querySelector('.message:last-child .figures')")

    assert page.run(f"{place}.map(e => e.getBoundingClientRect().top);") == tops
    assert page.run("return document.querySelector('.to-end').hidden;") is False
