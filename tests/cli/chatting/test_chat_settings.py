"""Parameters that a line sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.cli.chatting.chat import act_on
from localrun.cli.chatting.chat_settings import parse_change, usable_names
from localrun.errors import UsageError
from localrun.modelfile.known import KNOWN
from localrun.modelfile.parameters import format_parameter
from tests.cli.chatting.fakes import fake_chat
from tests.services.recipes import values

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("temperature 0.5", "temperature", 0.5),
        ("  temperature   0.5 ", "temperature", 0.5),
        ("num_ctx 32k", "num_ctx", 32768),
        ("seed 7", "seed", 7),
        ("seed default", "seed", None),
        ("use_mmap true", "use_mmap", True),
        ("stop A B", "stop", ["A", "B"]),
        ('stop "### User" END', "stop", ["### User", "END"]),
        ("stop \\n don't \"open", "stop", ["\\n", "don't", '"open']),
        ("stop default", "stop", None),
        ("keep_alive 10m", "keep_alive", "10m"),
    ],
)
def test_a_line_names_a_parameter_and_its_value(line: str, name: str, value: object) -> None:
    change = parse_change(line)

    assert (change.name, change.value) == (name, value)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("", "which parameter?", "temperature"),
        ("temperture 1", "unknown parameter: temperture", "did you mean temperature?"),
        ("temperature", "from 0 to 100", "/set parameter temperature VALUE"),
        ("temperature 200", "out of range: 200", "a number from 0 to 100, or default"),
        ("top_k many", "a whole number", "/set parameter top_k VALUE"),
        ("numa 1", "Ollama has removed it", ""),
        ("stop " + "x " * 65, "at most 64", ""),
    ],
)
def test_a_wrong_line_names_the_range(line: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_change(line)

    assert message in caught.value.message
    assert hint in str(caught.value.hint)
    assert "PARAMETER" not in str(caught.value.hint)


@given(st.data(), st.sampled_from([one for one in usable_names() if KNOWN[one].kind != "list"]))
def test_every_value_of_a_modelfile_can_be_set(data: st.DataObject, name: str) -> None:
    value = data.draw(values(KNOWN[name]))

    change = parse_change(f"{name} {format_parameter(value)}")

    assert change.value == value


def test_a_parameter_without_effect_is_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = fake_chat(tmp_path)

    act_on(fake.chat, "/set parameter low_vram true")
    act_on(fake.chat, "/set parameter temperature 0.5")
    act_on(fake.chat, "/set parameter top_k 5")
    act_on(fake.chat, "/set parameter temperature default")

    assert "low_vram has no effect" in capsys.readouterr().err
    assert fake.chat.session.settings.sampling == {"top_k": 5}
