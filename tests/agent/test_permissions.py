from __future__ import annotations

import pytest

from localrun.agent.permissions import Decision, PermissionMode, Permissions, PermissionVerdict
from localrun.agent.toolbox import AgentTool, Effect, ToolResult

ALLOW, ASK, REFUSE = PermissionVerdict.ALLOW, PermissionVerdict.ASK, PermissionVerdict.REFUSE


def tool(effect: Effect, name: str = "tool") -> AgentTool:
    return AgentTool(
        name=name,
        description="",
        parameters={},
        effect=effect,
        execute=lambda _arguments, _cancel: ToolResult(text=""),
    )


@pytest.mark.parametrize(
    ("mode", "verdicts"),
    [
        (PermissionMode.ASK, [ALLOW, ASK, ASK, ASK]),
        (PermissionMode.ALLOW_EDITS, [ALLOW, ALLOW, ASK, ASK]),
        (PermissionMode.READ_ONLY, [ALLOW, REFUSE, REFUSE, ASK]),
    ],
)
def test_the_mode_decides_by_the_effect(
    mode: PermissionMode, verdicts: list[PermissionVerdict]
) -> None:
    permissions = Permissions(mode)

    found = [
        permissions.verdict(tool(effect), {})
        for effect in (Effect.READ, Effect.EDIT, Effect.COMMAND, Effect.FOREIGN)
    ]

    assert found == verdicts


def test_the_modes_follow_each_other_in_a_circle() -> None:
    permissions = Permissions()

    modes = [permissions.next_mode() for _ in range(3)]

    assert modes == [PermissionMode.ALLOW_EDITS, PermissionMode.READ_ONLY, PermissionMode.ASK]


def test_a_decision_once_is_forgotten() -> None:
    permissions = Permissions()
    command = tool(Effect.COMMAND)

    for decision in (Decision.ONCE, Decision.REFUSE):
        permissions.remember(command, {"command": "ls"}, decision)
        assert permissions.verdict(command, {"command": "ls"}) is ASK


def test_an_exact_call_is_allowed_with_the_same_arguments_only() -> None:
    permissions = Permissions()
    command = tool(Effect.COMMAND)

    permissions.remember(command, {"command": "ls", "timeout_s": 1}, Decision.EXACT)

    assert permissions.verdict(command, {"timeout_s": 1, "command": "ls"}) is ALLOW
    assert permissions.verdict(command, {"command": "ls -a", "timeout_s": 1}) is ASK
    assert permissions.verdict(tool(Effect.COMMAND, "other"), {"command": "ls"}) is ASK


def test_a_tool_is_allowed_or_refused_for_the_chat() -> None:
    permissions = Permissions()
    command, foreign = tool(Effect.COMMAND), tool(Effect.FOREIGN, "server_tool")

    permissions.remember(command, {}, Decision.TOOL)
    permissions.remember(foreign, {}, Decision.NEVER)

    assert permissions.verdict(command, {"command": "any"}) is ALLOW
    assert permissions.verdict(foreign, {}) is REFUSE
    assert permissions.about(command) == "allowed in this chat"
    assert permissions.about(foreign) == "never"


def test_what_was_allowed_changes_nothing_in_the_read_only_mode() -> None:
    permissions = Permissions()
    foreign = tool(Effect.FOREIGN)
    permissions.remember(foreign, {}, Decision.TOOL)

    permissions.mode = PermissionMode.READ_ONLY

    assert permissions.verdict(foreign, {}) is ASK
