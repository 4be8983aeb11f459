"""Models of chats: what ``/save`` keeps, and what it says it does not."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localrun.cli.chatting.chat import act_on
from localrun.cli.chatting.saving import ChatToSave, is_taken, recipe_messages, save_chat
from localrun.errors import ModelNameError, ModelNotFoundError, UsageError
from localrun.modelfile.known import LISTS
from localrun.modelfile.recipe import Recipe
from localrun.names.parse import parse_name
from localrun.services.creating.create import create_model
from localrun.services.workspace import Workspace
from localrun.settings import load_settings
from tests.cli.chatting.fakes import FakeChat, fake_chat, pieces
from tests.services.recipes import SAID, parameters

if TYPE_CHECKING:
    from localrun.modelfile.parameters import ParameterValue

PIRATE = Path(__file__).parents[3] / "modelfiles" / "adapters" / "pirate.gguf"
HELLO = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]
MESSAGES = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "assistant"]),
        SAID,
    ),
    max_size=4,
)


def workspace_at(folder: Path) -> Workspace:
    environ = {"LOCALRUN_MODELS": str(folder / "models"), "LOCALRUN_HOST": "127.0.0.1:1"}
    return Workspace(load_settings(environ), environ)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_at(tmp_path)


@pytest.fixture
def fake(tmp_path: Path) -> FakeChat:
    return fake_chat(tmp_path)


def as_settings(pairs: tuple[tuple[str, ParameterValue], ...]) -> dict[str, Any]:
    """Return parameters as the settings of a chat have them."""
    changed: dict[str, Any] = {}
    for name, value in pairs:
        if name in LISTS:
            changed.setdefault(name, []).append(value)
        else:
            changed[name] = value
    return changed


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.none() | SAID, parameters(), MESSAGES)
def test_what_is_saved_is_loaded(
    system: str | None,
    pairs: tuple[tuple[str, ParameterValue], ...],
    messages: list[dict[str, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace = workspace_at(Path(folder))
        chat = ChatToSave(
            model="guide:latest",
            system=system,
            parameters=as_settings(pairs),
            messages=messages,
        )

        saved = save_chat(workspace, "mine", chat)

        base = workspace.models.find_model("guide").recipe
        recipe = workspace.models.find_model("mine").recipe
    assert saved.left_out == ()
    assert recipe.system == (system or base.system)
    assert as_settings(recipe.parameters) == as_settings(base.parameters) | as_settings(pairs)
    said = [(one.role, one.content) for one in recipe_messages(messages)]
    assert list(recipe.messages) == said or list(base.messages)


def test_messages_follow_those_of_the_models_own_recipe(workspace: Workspace) -> None:
    first = Recipe(sources=("guide",), messages=recipe_messages(HELLO))
    create_model(workspace, parse_name("polite"), first, folder=Path("/"))
    later = [{"role": "user", "content": "Bye"}, {"role": "assistant", "content": "See you."}]

    save_chat(workspace, "mine", ChatToSave(model="polite", parameters={}, messages=later))

    texts = [text for _, text in workspace.models.find_model("mine").recipe.messages]
    assert texts == ["Hello", "Hi.", "Bye", "See you."]


def test_adapters_are_saved_with_their_scale(workspace: Workspace) -> None:
    chat = ChatToSave(model=f"guide+{PIRATE}@0.5", parameters={}, messages=[])

    save_chat(workspace, "mine", chat)
    save_chat(workspace, "again", ChatToSave(model="guide+mine@0.5", parameters={}, messages=[]))

    assert [scale for _, scale in workspace.models.find_model("mine").adapters] == [0.5]
    assert [scale for _, scale in workspace.models.find_model("again").adapters] == [0.25]


def test_answers_around_calls_of_tools_are_one_answer() -> None:
    messages: list[dict[str, Any]] = [
        HELLO[0],
        {"role": "assistant", "content": "Let me look.", "tool_calls": [{}]},
        {"role": "tool", "content": "42"},
        {"role": "assistant", "content": "", "tool_calls": [{}]},
        {"role": "tool", "content": "43"},
        {"role": "assistant", "content": "It is 43."},
    ]

    kept = [(one.role, one.content) for one in recipe_messages(messages)]

    assert kept == [("user", "Hello"), ("assistant", "Let me look.\n\nIt is 43.")]


def test_what_a_recipe_cannot_keep_is_said(workspace: Workspace) -> None:
    messages: list[dict[str, Any]] = [
        {**HELLO[0], "images": ["abc"]},
        {"role": "tool", "content": "42"},
        HELLO[1],
    ]
    chat = ChatToSave(model="guide", parameters={}, messages=messages, other_settings=("format",))

    assert save_chat(workspace, "mine", chat).left_out == ("1 result of tools", "1 image", "format")


def test_a_chat_that_is_too_long_is_refused(workspace: Workspace) -> None:
    long = [{"role": "user", "content": "x" * 3_000_000}]

    with pytest.raises(UsageError, match="too long for a model"):
        save_chat(workspace, "mine", ChatToSave(model="guide", parameters={}, messages=long))
    assert not is_taken(workspace, "mine")


def test_a_name_is_checked(workspace: Workspace) -> None:
    assert is_taken(workspace, "guide")
    assert not is_taken(workspace, "mine")
    with pytest.raises(ModelNameError):
        is_taken(workspace, "no name")


def test_save_and_load_go_on_with_a_chat(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/set system Be brief.")
    act_on(fake.chat, "/set parameter temperature 0.5")
    fake.client.answers = [pieces("Hi.")]
    act_on(fake.chat, "Hello")

    act_on(fake.chat, "/save mine")
    act_on(fake.chat, "/load mine")

    assert "Created new model 'mine'" in capsys.readouterr().err
    recipe = fake.chat.workspace.models.find_model("mine").recipe
    assert recipe.system == "Be brief."
    assert recipe.parameter("temperature") == 0.5
    assert recipe.messages == (("user", "Hello"), ("assistant", "Hi."))
    assert fake.chat.session.settings.model == "mine:latest"
    assert fake.conversation == []


@pytest.mark.parametrize(("key", "is_replaced"), [("y", True), ("n", False)])
def test_a_name_that_exists_asks(fake: FakeChat, key: str, *, is_replaced: bool) -> None:
    act_on(fake.chat, "/save mine")
    fake.chat.session.messages = list(HELLO)
    fake.composer.keys = [key]

    act_on(fake.chat, "/save mine")

    recipe = fake.chat.workspace.models.find_model("mine").recipe
    assert bool(recipe.messages) is is_replaced


@pytest.mark.parametrize("typed", ["/save", "/save no name", "/save /tmp/x"])
def test_no_name_saves_nothing(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    act_on(fake.chat, typed)

    assert "error: " in capsys.readouterr().err
    with pytest.raises(ModelNotFoundError):
        fake.chat.workspace.models.find_model("no")
