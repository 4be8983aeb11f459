"""Sounds by the user's own ffmpeg: only if it is named, and within bounds.

A program that stands for ffmpeg does what the file says, and keeps the arguments that it got.
"""

from __future__ import annotations

import itertools
import json
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from localrun.errors import UsageError
from localrun.load_rules import read_load_rules
from localrun.media import deadline, ffmpeg, sounds
from localrun.media.sounds import decode_sound

HEADS = {
    "M4A": b"\0\0\0\x1cftypM4A ",
    "MP4": b"\0\0\0\x1cftypisom",
    "WebM": b"\x1aE\xdf\xa3....",
}
PROGRAM = """#!{python}
import array, json, pathlib, signal, sys
given = dict(zip(sys.argv, sys.argv[1:]))
file = pathlib.Path(given["-i"].removeprefix("file:"))
words = file.read_bytes().partition(b"|")[2].decode().split()
pathlib.Path({log!r}).write_text(json.dumps([sys.argv[1:], oct(file.parent.stat().st_mode)[-3:]]))
if words[0] == "say":
    array.array("f", map(float, words[1:])).tofile(sys.stdout.buffer)
elif words[0] == "flood":
    while True:
        sys.stdout.buffer.write(bytes(1 << 16))
elif words[0] == "rant":
    while True:
        sys.stderr.write("x" * 1023 + "\\n")
elif words[0] == "hang":
    signal.pause()
else:
    sys.stderr.write("[in#0 @ 0x55] moov atom not found\\nmore")
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a script is no program there")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.json"


@pytest.fixture
def program(tmp_path: Path, log: Path) -> str:
    found = tmp_path / "ffmpeg"
    found.write_text(PROGRAM.format(python=sys.executable, log=str(log)))
    found.chmod(found.stat().st_mode | stat.S_IXUSR)
    return str(found)


@pytest.mark.parametrize(
    ("form", "demuxer"), [("M4A", "mov"), ("MP4", "mov"), ("WebM", "matroska")]
)
def test_the_program_converts_a_private_copy(
    program: str, log: Path, form: str, demuxer: str
) -> None:
    samples = decode_sound(HEADS[form] + b"|say 0.5 -0.25 1", "x", rate=16000, ffmpeg=program)

    assert samples.tolist() == [0.5, -0.25, 1]
    assert samples.dtype == np.float32
    arguments, mode = json.loads(log.read_text())
    given = dict(itertools.pairwise(arguments))
    assert arguments[arguments.index("-protocol_whitelist") + 1] == "file"
    assert arguments[arguments.index("-f") + 1] == demuxer
    assert (given["-ar"], given["-ac"]) == ("16000", "1")
    assert mode == "700"
    assert not Path(given["-i"].removeprefix("file:")).exists()


def test_without_the_setting_the_error_names_it() -> None:
    with pytest.raises(UsageError, match="x is a file of the format M4A") as caught:
        decode_sound(HEADS["M4A"], "x", rate=16000)

    assert "LOCALRUN_FFMPEG=1" in str(caught.value.hint)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="LOCALRUN_FFMPEG names /nowhere/ffmpeg"):
        decode_sound(HEADS["M4A"], "x", rate=16000, ffmpeg="/nowhere/ffmpeg")


def test_what_it_cannot_read_is_an_error_without_its_insides(program: str) -> None:
    with pytest.raises(UsageError) as caught:
        decode_sound(HEADS["M4A"] + b"|fail", "x", rate=16000, ffmpeg=program)

    assert caught.value.message == "x cannot be read by ffmpeg: moov atom not found"


def test_a_sound_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(sounds, "MAX_SECONDS", 1)

    with pytest.raises(UsageError, match="x is longer than"):
        decode_sound(HEADS["WebM"] + b"|flood", "x", rate=16000, ffmpeg=program)


def test_a_program_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(deadline, "LONGEST_S", 0.2)

    with pytest.raises(UsageError, match="x takes more than"):
        decode_sound(HEADS["M4A"] + b"|hang", "x", rate=16000, ffmpeg=program)


@pytest.mark.parametrize("data", [b"", b"x", b"\0\0\0\x1cftypheic", b"<svg"])
def test_nothing_else_reaches_it(data: bytes, program: str, log: Path) -> None:
    with pytest.raises(UsageError):
        decode_sound(data, "x", rate=16000, ffmpeg=program)

    assert not log.exists()


def test_the_setting_is_a_program_or_the_one_on_the_path() -> None:
    said = {"": "", "0": "", "1": "ffmpeg", "/opt/ffmpeg": "/opt/ffmpeg"}

    for text, program in said.items():
        assert read_load_rules({"LOCALRUN_FFMPEG": text}).ffmpeg == program


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_its_memory_is_limited(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    limited: list[int] = []
    monkeypatch.setattr(ffmpeg, "_limit", limited.append)

    decode_sound(HEADS["M4A"] + b"|say 1", "x", rate=16000, ffmpeg=program)

    assert len(limited) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_its_errors_do_not_fill_the_disk(program: str) -> None:
    with pytest.raises(UsageError, match="x cannot be read by ffmpeg: xxx"):
        decode_sound(HEADS["M4A"] + b"|rant", "x", rate=16000, ffmpeg=program)
