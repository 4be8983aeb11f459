"""State of a chat."""

from __future__ import annotations

from localrun.cli.chatting.session import ChatSession, SessionSettings, sent_message


def session(**settings: object) -> ChatSession:
    return ChatSession(settings=SessionSettings(model="guide", **settings))  # type: ignore[arg-type] # of any field


def test_a_request_has_the_settings_that_are_set() -> None:
    chat = session(sampling={"seed": 1}, system="Be kind.", think="high", adapters=("pirate@0.8",))
    chat.messages.append({"role": "user", "content": "hi", "typed": "hi", "is_stopped": True})

    assert chat.body() == {
        "model": "guide+pirate@0.8",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "hi"},
        ],
        "options": {"seed": 1},
        "think": "high",
    }


def test_a_disabled_thought_is_sent() -> None:
    assert session(think=False).body()["think"] is False


def test_an_empty_answer_has_its_content() -> None:
    call = {"function": {"name": "read", "arguments": {}}}

    assert sent_message({"role": "assistant", "content": "", "tool_calls": [call]}) == {
        "role": "assistant",
        "content": "",
        "tool_calls": [call],
    }


def test_clearing_forgets_the_conversation_and_keeps_the_settings() -> None:
    chat = session(system="Be kind.")
    chat.messages.append({"role": "user", "content": "hi"})
    chat.failed = {"role": "user", "content": "no"}
    chat.note_figures({"prompt_eval_count": 3, "eval_count": 4})

    chat.clear()

    assert not chat.messages
    assert not chat.failed
    assert chat.context.used == 0
    assert chat.request_messages() == [{"role": "system", "content": "Be kind."}]


def test_the_last_turn_is_cut_with_its_tool_calls() -> None:
    chat = session()
    first = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "one"}]
    second = [
        {"role": "user", "content": "2"},
        {"role": "assistant", "content": ""},
        {"role": "tool", "content": "x"},
        {"role": "assistant", "content": "two"},
    ]
    chat.messages = [*first, *second]

    assert chat.cut_last_turn() is second[0]
    assert chat.messages == first


def test_nothing_is_cut_of_an_empty_conversation() -> None:
    assert session().cut_last_turn() is None


def test_settings_that_differ_from_the_defaults_are_remembered() -> None:
    settings = SessionSettings(model="guide", sampling={"seed": 1}, is_verbose=True)

    assert settings.to_json() == {"model": "guide", "sampling": {"seed": 1}, "is_verbose": True}
