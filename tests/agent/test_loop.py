from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from localrun.agent.loop import (
    MAX_CALLS,
    NOT_EXECUTED,
    REFUSED,
    STOPPED,
    Desk,
    ProposedCall,
    RoundLimits,
    RoundsEnd,
    run_rounds,
)
from localrun.agent.permissions import Decision, PermissionMode, Permissions
from localrun.agent.toolbox import AgentTool, Effect, Toolbox, ToolError, ToolResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Message = dict[str, Any]


def called(*calls: tuple[str, object]) -> Message:
    written = [
        {"id": f"call_{index}", "function": {"name": name, "arguments": arguments}}
        for index, (name, arguments) in enumerate(calls)
    ]
    return {"role": "assistant", "content": "", "tool_calls": written}


ANSWER: Message = {"role": "assistant", "content": "Done."}


class Model:
    """A model that says what it is told, and keeps what it was asked."""

    def __init__(self, *answers: Message) -> None:
        self.answers = list(answers)
        self.asked: list[list[Message]] = []

    def __call__(self, messages: list[Message]) -> Message:
        self.asked.append(list(messages))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class User:
    """An approver and an observer."""

    def __init__(self, *decisions: Decision) -> None:
        self.decisions = list(decisions)
        self.questions: list[list[str]] = []
        self.kept: list[Message] = []
        self.began: list[str] = []
        self.ended: list[str] = []
        self.diffs: list[str | None] = []

    def approve(self, calls: Sequence[ProposedCall]) -> Sequence[Decision]:
        self.questions.append([call.name for call in calls])
        self.diffs += [call.diff for call in calls]
        return [self.decisions.pop(0) for _ in calls]

    def keep(self, message: Message) -> None:
        self.kept.append(message)

    def begin_call(self, call: ProposedCall) -> None:
        self.began.append(call.name)

    def end_call(self, call: ProposedCall, result: ToolResult) -> None:
        self.ended.append(f"{call.name}: {result.text}")

    @property
    def results(self) -> list[str]:
        return [message["content"] for message in self.kept if message["role"] == "tool"]


def a_tool(name: str, effect: Effect, act: Callable[[], str], diff: str = "") -> AgentTool:
    return AgentTool(
        name=name,
        description=name,
        parameters={"type": "object", "properties": {}},
        effect=effect,
        execute=lambda _arguments, _cancel: ToolResult(text=act()),
        preview=(lambda _arguments: diff) if diff else None,
    )


def fail() -> str:
    raise ToolError("it has failed")


def interrupt() -> str:
    raise KeyboardInterrupt


TOOLBOX = Toolbox(
    [
        a_tool("look", Effect.READ, lambda: "seen"),
        a_tool("large", Effect.READ, lambda: "x" * 3000),
        a_tool("change", Effect.EDIT, lambda: "changed", diff="+x"),
        a_tool("act", Effect.COMMAND, lambda: "acted"),
        a_tool("fail", Effect.READ, fail),
        a_tool("interrupt", Effect.READ, interrupt),
    ]
)


def rounds(
    model: Model,
    user: User,
    limits: RoundLimits | None = None,
    permissions: Permissions | None = None,
) -> RoundsEnd:
    desk = Desk(
        toolbox=TOOLBOX, permissions=permissions or Permissions(), approver=user, observer=user
    )
    return run_rounds(model, desk, [{"role": "user", "content": "?"}], limits or RoundLimits())


def test_an_answer_without_calls_ends_the_turn() -> None:
    model, user = Model(ANSWER), User()

    assert rounds(model, user) is RoundsEnd.ANSWERED
    assert user.kept == [ANSWER]
    assert len(model.asked) == 1


def test_results_go_back_to_the_model() -> None:
    model, user = Model(called(("look", {}), ("fail", {})), ANSWER), User()

    rounds(model, user)

    assert user.questions == []
    assert model.asked[1][2:] == [
        {"role": "tool", "content": "seen", "tool_name": "look", "tool_call_id": "call_0"},
        {"role": "tool", "content": "it has failed", "tool_name": "fail", "tool_call_id": "call_1"},
    ]
    assert user.kept == [*model.asked[1][1:], ANSWER]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("loook", {}, "There is no tool 'loook'. Did you mean look?"),
        ("look", "{not json", "The arguments are not JSON"),
        ("look", [1], "The arguments are not a JSON object"),
        ("look", "[" * 100_000, "The arguments are not JSON"),
        (None, None, "There is no tool ''"),
    ],
)
def test_a_wrong_call_is_explained_to_the_model(name: str, arguments: object, message: str) -> None:
    user = User()

    rounds(Model(called((name, arguments)), ANSWER), user)

    assert user.results[0].startswith(message)
    assert user.began == []


def test_arguments_may_be_the_text_of_an_object() -> None:
    user = User()

    rounds(Model(called(("look", json.dumps({"a": 1}))), ANSWER), user)

    assert user.results == ["seen"]


def test_malformed_calls_get_a_result_each() -> None:
    user = User()
    message = {"role": "assistant", "content": "", "tool_calls": [None, 3, {"function": 4}]}

    rounds(Model(message, ANSWER), user)

    assert len(user.results) == 3


def test_all_calls_of_an_answer_are_one_question() -> None:
    user = User(Decision.ONCE, Decision.REFUSE)

    rounds(Model(called(("look", {}), ("change", {}), ("act", {})), ANSWER), user)

    assert user.questions == [["change", "act"]]
    assert user.diffs == ["+x", None]
    assert user.results == ["seen", "changed", REFUSED]


def test_a_decision_for_the_chat_is_not_asked_again() -> None:
    user = User(Decision.TOOL)

    rounds(Model(called(("act", {"a": 1})), called(("act", {"a": 2})), ANSWER), user)

    assert user.questions == [["act"]]
    assert user.results == ["acted", "acted"]


def test_a_refused_tool_is_not_asked_again() -> None:
    user = User(Decision.NEVER)

    rounds(Model(called(("act", {})), called(("act", {})), ANSWER), user)

    assert user.questions == [["act"]]
    assert "does not allow this tool" in user.results[1]


def test_the_read_only_mode_executes_no_change() -> None:
    user = User()

    rounds(
        Model(called(("change", {}), ("act", {})), ANSWER),
        user,
        permissions=Permissions(PermissionMode.READ_ONLY),
    )

    assert user.questions == []
    assert all("read-only" in result for result in user.results)


def test_ctrl_c_in_a_call_leaves_a_result_for_each_call() -> None:
    user = User()

    with pytest.raises(KeyboardInterrupt):
        rounds(Model(called(("look", {}), ("interrupt", {}), ("look", {}))), user)

    assert user.results == ["seen", STOPPED, NOT_EXECUTED]
    assert len(user.ended) == 3


def test_ctrl_c_before_a_call_begins_leaves_a_result_for_each_call() -> None:
    class Hasty(User):
        def begin_call(self, call: ProposedCall) -> None:
            raise KeyboardInterrupt(call.name)

    user = Hasty()

    with pytest.raises(KeyboardInterrupt):
        rounds(Model(called(("look", {}), ("look", {}))), user)

    assert user.results == [STOPPED, NOT_EXECUTED]


def test_ctrl_c_in_the_question_leaves_a_result_for_each_call() -> None:
    class Leaving(User):
        def approve(self, calls: Sequence[ProposedCall]) -> Sequence[Decision]:
            raise KeyboardInterrupt(len(calls))

    user = Leaving()

    with pytest.raises(KeyboardInterrupt):
        rounds(Model(called(("act", {}), ("look", {}))), user)

    assert user.results == [NOT_EXECUTED, NOT_EXECUTED]


def test_rounds_are_limited() -> None:
    model, user = Model(called(("look", {}))), User()

    assert rounds(model, user, RoundLimits(num_rounds=5)) is RoundsEnd.ROUNDS
    assert len(model.asked) == 5
    assert len(user.results) == 5


def test_a_result_is_cut_and_the_sum_of_results_is_limited() -> None:
    model, user = Model(called(("large", {}))), User()

    end = rounds(model, user, RoundLimits(result_bytes=1000, total_bytes=2500))

    assert end is RoundsEnd.BYTES
    assert all(len(result) < 1100 for result in user.results)
    assert "2000 bytes left out" in user.results[0]
    assert len(user.results) == 4
    assert "Answer with what you have" in user.results[-1]


def test_calls_of_one_answer_are_limited() -> None:
    user = User()

    rounds(Model(called(*[("look", {})] * (MAX_CALLS + 2)), ANSWER), user)

    assert len(user.results) == MAX_CALLS + 2
    assert user.results.count("seen") == MAX_CALLS


def test_a_small_context_has_smaller_limits() -> None:
    small, large = RoundLimits.for_context(2048), RoundLimits.for_context(131_072)

    assert small.num_rounds < large.num_rounds == 100
    assert small.result_bytes == 2048
    assert small.total_bytes < large.total_bytes
    assert RoundLimits.for_context(0) == RoundLimits()
