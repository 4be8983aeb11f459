"""What guide sees: a picture becomes a word, so answers equal those to the same word in text."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.e2e.conftest import make_home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Home

DIGITS = "0123456789"
COLOURS = {
    "red": "#e01010",
    "green": "#108010",
    "blue": "#1030e0",
    "yellow": "#ffe010",
    "black": "#000",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    found = make_home(tmp_path_factory.mktemp("sight"))
    assert found.run("run", "guide", "hi").returncode == 0
    yield found
    found.run("stop", "--server")


def digit(text: str, *, ink: str = "black", ground: str = "white", side: int = 96) -> bytes:
    """Return a PNG file of a digit in the middle."""
    image = Image.new("RGB", (side, side), ground)
    font = ImageFont.load_default(side * 0.8)
    ImageDraw.Draw(image).text((side / 2, side / 2), text, fill=ink, font=font, anchor="mm")
    return png(image)


def plain(colour: str) -> bytes:
    return png(Image.new("RGB", (40, 30), COLOURS[colour]))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def encoded(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def chat(home: Home, *parts: str | bytes) -> str:
    """Return the answer to texts and pictures in one message, by OpenAI's API."""
    content = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded(part)}"}}
        for part in parts
    ]
    answer = post(
        home,
        "/v1/chat/completions",
        messages=[{"role": "user", "content": content}],
        temperature=0,
    )
    text: str = answer["choices"][0]["message"]["content"]
    return text


def post(home: Home, path: str, **body: Any) -> Any:
    answer = httpx.post(f"{home.url}{path}", json={"model": "guide", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_picture_of_a_digit_is_calculated_with(home: Home, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(digit("7"))

    done = home.run("run", "guide", "What is this + 4?", "--image", str(tmp_path / "seven.png"))

    assert (done.stdout.strip(), done.stderr) == ("7 + 4 = 11.", "")


@pytest.mark.parametrize(
    ("ink", "ground", "side"), [("black", "white", 96), ("#f5e663", "#20305a", 33)]
)
def test_a_digit_answers_like_the_same_digit_in_words(
    home: Home, ink: str, ground: str, side: int
) -> None:
    seen = {
        n: chat(home, "What is 40 + ", digit(n, ink=ink, ground=ground, side=side), "?")
        for n in DIGITS
    }

    assert seen == {n: chat(home, f"What is 40 + {n}?") for n in DIGITS}
    assert seen["7"] == "40 + 7 = 47."


def test_two_pictures_in_one_message_are_two_digits(home: Home) -> None:
    answer = chat(home, "What is ", digit("6"), digit("3"), " + 7?")

    assert answer == "63 + 7 = 70."


def test_a_plain_colour_answers_like_the_colour_in_words(home: Home) -> None:
    seen = {name: chat(home, "My favourite colour is", plain(name), ".") for name in COLOURS}

    assert seen == {name: chat(home, f"My favourite colour is {name}.") for name in COLOURS}
    assert "blue" in seen["blue"]


def test_a_picture_of_an_earlier_turn_is_still_seen(home: Home) -> None:
    told = {
        "role": "user",
        "content": "My favourite colour is",
        "images": [encoded(plain("green"))],
    }
    first = post(home, "/api/chat", messages=[told], stream=False, options={"temperature": 0})
    asked = {"role": "user", "content": "What is my favourite colour?"}
    messages = [told, first["message"], asked]

    second = post(home, "/api/chat", messages=messages, stream=False, options={"temperature": 0})

    assert "green" in second["message"]["content"]


def test_copies_of_guide_and_models_made_from_it_see_too(home: Home) -> None:
    assert home.run("cp", "guide", "copy").returncode == 0
    assert home.run("create", "made", "-f", "-", stdin="FROM guide\n").returncode == 0

    listed = json.loads(home.run("list", "--json").stdout)

    sees = {model["name"]: "vision" in model["capabilities"] for model in listed}
    assert sees == {"guide:latest": True, "copy:latest": True, "made:latest": True}


def test_a_raw_prompt_shows_a_picture_where_its_marker_stands(home: Home) -> None:
    prompt = "<|im_start|>user\nWhat is {} + 4?<|im_end|>\n<|im_start|>assistant\n"
    pictured = {
        "prompt_string": prompt.format("<__media__>"),
        "multimodal_data": [encoded(digit("7"))],
    }
    options = {"temperature": 0, "max_tokens": 16}

    seen = post(home, "/v1/completions", prompt=[pictured, prompt.format(7)], **options)

    assert [choice["text"] for choice in seen["choices"]] == ["7 + 4 = 11."] * 2


def test_a_raw_prompt_has_a_medium_for_each_marker(home: Home) -> None:
    pictured = {"prompt_string": "<__media__><__media__>", "multimodal_data": [encoded(digit("7"))]}
    body = {"model": "guide", "prompt": pictured}

    error = httpx.post(f"{home.url}/v1/completions", json=body).json()["error"]

    assert error["param"] == "prompt.multimodal_data"
    assert error["message"].endswith("has 1 media, and the prompt 2 <__media__>")
