"""Each tool's settings, on a sample of its real files and as data."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from localrun.errors import NotFoundError
from localrun.integrations.edits import applied, is_same
from localrun.integrations.formats.documents import DECODED, FileFormat, edited_document
from localrun.integrations.places import Places
from localrun.integrations.registry import OTHER_NAMES, TOOLS, find_tool
from localrun.integrations.target import KEY_VARIABLE, NO_KEY, RoleModel, Target
from localrun.integrations.tool import KEY, OWN_FOLDER
from tests.integrations.samples import SAMPLES

if TYPE_CHECKING:
    from localrun.integrations.tool import FileSettings

URL = "http://127.0.0.1:11435"
CHAT = RoleModel(
    name="qwen3:8b", context=40960, capabilities=("completion", "tools", "thinking", "vision")
)
WITH_FILES = sorted(name for name, tool in TOOLS.items() if tool.settings is not None)
LAUNCHED = sorted(name for name, tool in TOOLS.items() if tool.launch is not None)
PLATFORMS = ("linux", "darwin", "win32")
MARKS = ("#", "//", "/*")


def target(*, needs_key: bool = False) -> Target:
    return Target(
        url=URL,
        chat=CHAT,
        edit=CHAT,
        autocomplete=RoleModel(name="coder:1.5b", context=8192, capabilities=("insert",)),
        embed=RoleModel(name="nomic", context=2048, capabilities=("embedding",)),
        needs_key=needs_key,
    )


def places(platform: str = "linux", **environ: str) -> Places:
    return Places(home=Path("/home/me"), platform=platform, environ=environ)


def settings(name: str, *, needs_key: bool = False) -> tuple[FileSettings, ...]:
    make = TOOLS[name].settings
    assert make is not None
    return make(target(needs_key=needs_key), places())


def samples() -> list[tuple[str, int]]:
    return [(name, index) for name in WITH_FILES for index in range(len(settings(name)))]


def test_there_are_at_least_sixteen_tools() -> None:
    assert len(TOOLS) >= 16
    assert SAMPLES.keys() == set(WITH_FILES)
    assert all(name == tool.name for name, tool in TOOLS.items())


@pytest.mark.parametrize(("name", "index"), samples())
def test_a_real_file_keeps_everything_else(name: str, index: int) -> None:
    file, text = settings(name)[index], SAMPLES[name][index]

    edited = edited_document(text, file.format, file.edits)

    before, after = DECODED[file.format](text), DECODED[file.format](edited)
    assert is_same(after, applied(before, file.edits))
    assert not is_same(after, before)
    assert edited_document(edited, file.format, file.edits) == edited


@pytest.mark.parametrize(("name", "index"), samples())
def test_every_comment_stays_in_its_order(name: str, index: int) -> None:
    file, text = settings(name)[index], SAMPLES[name][index]
    comments = [line.strip() for line in text.splitlines() if line.strip().startswith(MARKS)]

    lines = iter(edited_document(text, file.format, file.edits).splitlines())

    assert all(any(line.strip() == comment for line in lines) for comment in comments)


@pytest.mark.parametrize(("name", "index"), samples())
def test_windows_line_ends_stay(name: str, index: int) -> None:
    file, text = settings(name)[index], SAMPLES[name][index].replace("\n", "\r\n")

    edited = edited_document(text, file.format, file.edits)

    assert text == "" or edited.count("\n") == edited.count("\r\n")


@pytest.mark.parametrize("name", WITH_FILES)
def test_new_files_are_well_formed_and_name_the_server(name: str) -> None:
    texts = [edited_document("", file.format, file.edits) for file in settings(name)]

    for file, text in zip(settings(name), texts, strict=True):
        if file.format is FileFormat.JSON:
            json.loads(text)
        elif file.format is FileFormat.TOML:
            tomllib.loads(text)
    assert any(URL in text for text in texts)
    steps = TOOLS[name].steps
    assert any(CHAT.name in text for text in [*texts, *(steps(target()) if steps else ())])


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_no_key_is_written(name: str) -> None:
    """With a key, a file refers to the variable or says nothing; the note says what to do."""
    tool = TOOLS[name]
    written = (
        [edited_document("", file.format, file.edits) for file in settings(name, needs_key=True)]
        if tool.settings is not None
        else []
    )
    variables = dict(tool.environment(target(needs_key=True))) if tool.environment else {}

    text = "\n".join([*written, *variables.values()])

    assert f'"{NO_KEY}"' not in text
    assert f": {NO_KEY}\n" not in text
    assert KEY_VARIABLE in text or tool.key_note or tool.steps


@pytest.mark.parametrize("name", LAUNCHED)
def test_a_launch_names_the_model_and_the_server(name: str) -> None:
    tool = TOOLS[name]
    assert tool.launch is not None
    launch = tool.launch(target())

    words = [*launch.arguments, *launch.environment.values(), *launch.files.values()]
    text = "\n".join(words)

    assert tool.program
    assert tool.launch_needs_settings or (URL in text and CHAT.name in text)
    assert not any(KEY in word for word in launch.arguments)
    assert all(f"{OWN_FOLDER}/{file}" in text for file in launch.files)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_files_are_in_the_home_of_each_platform(platform: str) -> None:
    for name in WITH_FILES:
        make = TOOLS[name].settings
        assert make is not None
        paths = [file.path for file in make(target(), places(platform))]
        assert all(path.is_relative_to("/home/me") for path in paths), name
        assert len(set(paths)) == len(paths)


@pytest.mark.parametrize(
    ("name", "variable"),
    [("codex", "CODEX_HOME"), ("claude-code", "CLAUDE_CONFIG_DIR"), ("llm", "LLM_USER_PATH")],
)
def test_a_variable_names_another_folder(name: str, variable: str) -> None:
    make = TOOLS[name].settings
    assert make is not None

    (file,) = make(target(), places(**{variable: "/other"}))

    assert file.path.parent == Path("/other")


def test_the_real_context_reaches_codex_and_opencode() -> None:
    codex, opencode = TOOLS["codex"].launch, TOOLS["opencode"].launch
    assert codex is not None
    assert opencode is not None

    catalog: dict[str, Any] = json.loads(codex(target()).files["codex-models.json"])
    content = json.loads(opencode(target()).environment["OPENCODE_CONFIG_CONTENT"])

    assert catalog["models"][0]["context_window"] == CHAT.context
    assert f"model_context_window={CHAT.context}" in codex(target()).arguments
    limit = content["provider"]["localrun"]["models"][CHAT.name]["limit"]
    assert limit["context"] == CHAT.context


def test_an_unknown_tool_names_the_nearest() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_tool("codexx")

    assert "localrun connect codex" in (caught.value.hint or "")


@pytest.mark.parametrize(("other", "name"), sorted(OTHER_NAMES.items()))
def test_tools_have_other_names(other: str, name: str) -> None:
    assert find_tool(other.upper()).name == name
