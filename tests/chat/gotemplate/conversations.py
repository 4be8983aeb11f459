"""What the golden prompts are about: one conversation of each shape."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather & more, <now>",
        "parameters": {
            "type": "object",
            "required": ["city"],
            "properties": {
                "unit": {"type": "string", "description": "degrees", "enum": ["C", "F"]},
                "city": {"type": "string", "description": "A city's name"},
                "days": {"type": ["integer", "null"]},
            },
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "",
        "parameters": {"type": "object", "properties": {}},
    },
}


@dataclass(frozen=True, slots=True)
class Conversation:
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = field(default_factory=list)
    think: bool | None = None
    think_level: str = ""
    suffix: str = ""

    def for_oracle(self, template: str) -> dict[str, Any]:
        values = asdict(self)
        return {
            "Template": template,
            "Messages": [
                {**message, "thinking": message.get("reasoning_content", "")}
                for message in self.messages
            ],
            "Tools": self.tools,
            "Think": self.think,
            "ThinkLevel": values["think_level"],
            "Suffix": self.suffix,
        }

    def options(self) -> dict[str, Any]:
        given = {
            "enable_thinking": self.think,
            "reasoning_effort": self.think_level or None,
            "suffix": self.suffix or None,
        }
        return {name: value for name, value in given.items() if value is not None}


def said(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def called(name: str, **arguments: Any) -> dict[str, Any]:
    return {
        "type": "function",
        "id": f"call_{name}",
        "function": {"name": name, "arguments": arguments},
    }


HELLO = said("user", "Hello, {{ you }} {% if %}!")
TURNS = [
    said("system", "You are kind.\nAnd brief."),
    HELLO,
    said("assistant", "Hi!", reasoning_content="They greet."),
    said("user", "Why is <b>\"sky\"</b> blue & 'high'? \u00e9\U0001f600"),
]
TOOL_ROUND = [
    *TURNS,
    said(
        "assistant",
        "",
        reasoning_content="Ask the tool.",
        tool_calls=[
            called("get_weather", unit="C", city="Z\u00fcrich <x>", days=3, exact=True, rate=0.5),
            called("clock"),
        ],
    ),
    said("tool", '{"t": 12}', tool_call_id="call_get_weather", tool_name="get_weather"),
    said("tool", "noon", tool_call_id="call_clock", tool_name="clock"),
]

CONVERSATIONS = {
    "hello": Conversation([HELLO]),
    "turns": Conversation(TURNS),
    "runs": Conversation(
        [said("system", "a"), said("user", "b"), said("user", "c"), said("system", "d")]
    ),
    "asked": Conversation(TURNS, tools=[WEATHER, CLOCK]),
    "tools": Conversation(TOOL_ROUND, tools=[WEATHER]),
    "answered": Conversation([*TOOL_ROUND, said("assistant", "It is 12.")], tools=[WEATHER]),
    "prefill": Conversation([*TURNS, said("assistant", "Because", reasoning_content="Hm.")]),
    "unthinking": Conversation(TURNS, think=False),
    "effort": Conversation(TURNS, think_level="high"),
    "gap": Conversation([said("user", "def f(")], suffix="return 1"),
    "nothing": Conversation([]),
}
