"""What a model can do, told by its files, and what is said of one that cannot answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import LoadError, UsageError
from localrun.modelfile.recipe import Recipe
from localrun.names.parse import parse_name
from localrun.services.capabilities import check_can_answer
from localrun.services.creating.create import create_model
from tests.gguf.builder import BOOL, STRING, U32, header, pair
from tests.services.making import Told, workspace_at

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.workspace import Workspace

FIM = [
    pair("tokenizer.ggml.fim_pre_token_id", U32, 1),
    pair("tokenizer.ggml.fim_suf_token_id", U32, 2),
]
CODE_LLAMA = [
    pair("tokenizer.ggml.prefix_token_id", U32, 1),
    pair("tokenizer.ggml.suffix_token_id", U32, 2),
]

VISION = pair("clip.has_vision_encoder", BOOL, content=True)
AUDIO = pair("clip.has_audio_encoder", BOOL, content=True)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_at(tmp_path, "http://127.0.0.1:9", is_offline=True)


def write(folder: Path, architecture: str, *pairs: bytes, name: str = "model.gguf") -> Path:
    path = folder / name
    path.write_bytes(header([pair("general.architecture", STRING, architecture), *pairs]))
    return path


def abilities(workspace: Workspace, path: Path) -> tuple[str, ...]:
    return workspace.models.find_model(str(path)).details.capabilities


@pytest.mark.parametrize(
    ("architecture", "pairs", "expected"),
    [
        ("llama", [], ("completion",)),
        ("llama", FIM, ("completion", "insert")),
        ("llama", FIM[:1], ("completion",)),
        ("llama", CODE_LLAMA, ("completion", "insert")),
        ("bert", [], ("embedding",)),
        ("nomic-bert", [pair("tokenizer.chat_template", STRING, "tools")], ("embedding",)),
        ("qwen3", [pair("qwen3.pooling_type", U32, 3)], ("embedding",)),
        ("qwen3", [pair("qwen3.pooling_type", U32, 0)], ("completion",)),
        (
            "qwen3",
            [pair("tokenizer.chat_template", STRING, "tools enable_thinking")],
            ("completion", "tools", "thinking"),
        ),
        ("clip", [], ()),
        ("llama", [pair("general.type", STRING, "adapter")], ()),
    ],
)
def test_a_file_tells_what_it_can(
    workspace: Workspace,
    tmp_path: Path,
    architecture: str,
    pairs: list[bytes],
    expected: tuple[str, ...],
) -> None:
    assert abilities(workspace, write(tmp_path, architecture, *pairs)) == expected


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], ("vision",)),
        ([VISION], ("vision",)),
        ([AUDIO], ("audio",)),
        (
            [
                VISION,
                AUDIO,
            ],
            ("vision", "audio"),
        ),
    ],
)
def test_a_projector_gives_senses(
    workspace: Workspace, tmp_path: Path, pairs: list[bytes], expected: tuple[str, ...]
) -> None:
    write(tmp_path, "llama")
    write(tmp_path, "clip", *pairs, name="mmproj.gguf")
    recipe = Recipe(sources=("./model.gguf", "./mmproj.gguf"), template="{{ tools }}")

    create_model(workspace, parse_name("seeing"), recipe, folder=tmp_path)

    (found,) = (m for m in workspace.models.list_models() if m.name == "seeing:latest")
    assert found.details.capabilities == ("completion", "tools", *expected)


def test_a_recipes_template_counts_instead_of_the_files(
    workspace: Workspace, tmp_path: Path
) -> None:
    write(tmp_path, "llama", pair("tokenizer.chat_template", STRING, "{{ tools }}"))
    recipe = Recipe(sources=("./model.gguf",), template="{{ messages[0].content }}")

    create_model(workspace, parse_name("plain"), recipe, folder=tmp_path)

    assert workspace.models.find_model("plain").details.capabilities == ("completion",)


@pytest.mark.parametrize(
    ("architecture", "pairs", "says", "hint"),
    [
        ("bert", [], "is an embedding model", "localrun list"),
        ("clip", [], "is a projector", "localrun create"),
        ("llama", [pair("general.type", STRING, "adapter")], "is an adapter", "run MODEL+/"),
    ],
)
def test_what_cannot_answer_is_refused_with_the_next_command(
    workspace: Workspace,
    tmp_path: Path,
    architecture: str,
    pairs: list[bytes],
    says: str,
    hint: str,
) -> None:
    model = workspace.models.find_model(str(write(tmp_path, architecture, *pairs)))

    with pytest.raises(UsageError, match=says) as caught:
        check_can_answer(model)

    assert hint in (caught.value.hint or "")


def test_the_embedded_model_can_answer(workspace: Workspace) -> None:
    check_can_answer(workspace.models.find_model("guide"))


def test_a_template_that_fills_gaps_lets_the_model_insert(
    workspace: Workspace, tmp_path: Path
) -> None:
    write(tmp_path, "llama")
    template = "{{ if .Suffix }}<P>{{ .Prompt }}<S>{{ .Suffix }}<M>{{ else }}{{ .Prompt }}{{ end }}"
    recipe = Recipe(sources=("./model.gguf",), template=template)

    create_model(workspace, parse_name("filling"), recipe, folder=tmp_path)

    (found,) = (m for m in workspace.models.list_models() if m.name == "filling:latest")
    assert found.details.capabilities == ("completion", "insert")


def test_an_architecture_that_llama_cpp_does_not_know_is_said_before_a_load(
    workspace: Workspace, tmp_path: Path
) -> None:
    file, told = write(tmp_path, "quux"), Told()
    recipe = Recipe(sources=(str(file),))

    create_model(workspace, parse_name("old"), recipe, folder=tmp_path, report=told)

    assert "does not know the architecture 'quux'" in told.notes[-1]
    with pytest.raises(LoadError, match=r"^old:latest cannot be loaded: .*'quux'"):
        check_can_answer(workspace.models.find_model("old"))
