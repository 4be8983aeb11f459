"""What guide hears: a spoken digit becomes a word, so answers equal those to the same word in text.

The sounds are espeak-ng's, by voices that guide's training never heard.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.conftest import make_home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Home

SPOKEN = Path(__file__).with_name("spoken")
DIGITS = {"three": "3", "five": "5", "seven": "7"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = make_home(tmp_path_factory.mktemp("hearing"))
    assert home.run("run", "guide", "hi").returncode == 0
    yield home
    home.run("stop", "--server")


def chat(home: Home, *parts: str | Path) -> str:
    """Return the answer to texts and sounds in one message, by OpenAI's API."""
    content = [
        {"type": "text", "text": part} if isinstance(part, str) else sound(part) for part in parts
    ]
    messages = [{"role": "user", "content": content}]
    body = {"model": "guide", "messages": messages, "temperature": 0}
    answer = httpx.post(f"{home.url}/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def sound(path: Path) -> dict[str, Any]:
    data = base64.b64encode(path.read_bytes()).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def test_a_spoken_digit_is_calculated_with(home: Home) -> None:
    done = home.run("run", "guide", "What is this + 4?", "--audio", str(SPOKEN / "seven.wav"))

    assert (done.stdout.strip(), done.stderr) == ("7 + 4 = 11.", "")


@pytest.mark.parametrize("name", DIGITS)
def test_a_spoken_digit_answers_like_the_same_digit_in_words(home: Home, name: str) -> None:
    heard = chat(home, "What is 40 + ", SPOKEN / f"{name}.wav", "?")

    assert heard == chat(home, f"What is 40 + {DIGITS[name]}?")
    assert heard.startswith(f"40 + {DIGITS[name]} = ")


def test_two_sounds_in_one_message_are_two_digits(home: Home) -> None:
    heard = chat(home, "What is ", SPOKEN / "seven.wav", SPOKEN / "three.wav", " + 5?")

    assert heard == chat(home, "What is 73 + 5?")
    assert heard.startswith("73 + 5 = ")
