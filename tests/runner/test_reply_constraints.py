"""What replies of the real model have to be: calls, answers, thoughts of some length."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from localrun.chat.budget import Allowance
from localrun.chat.profiles.tools import Tools
from localrun.chat.stream_parser import ReasoningPart, StreamParser, TextPart
from localrun.chat.tool_calls import ToolCall, calls_of
from localrun.engine.constraints.compiler import GrammarCompiler
from localrun.engine.context import LlamaContext
from localrun.engine.llama.library import start
from localrun.engine.llama.model import load_model
from localrun.engine.params import ConstraintKind, ConstraintSpec, SamplingParams
from localrun.engine.sequence import Sequence
from localrun.errors import UsageError
from localrun.runner.frames import LENGTH, decode, encode
from localrun.runner.generation import spec_of
from localrun.runner.messages import Generate, Generation, JsonObject, PromptSpec
from localrun.runner.prompts.templates import ChatFormat, analyze
from localrun.runner.reply_constraints import ReplyConstraints
from localrun.store.store import embedded_models
from tests.engine.answering import LIMITS, Answerer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.engine.llama.model import Model

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Oslo"]}, "days": {"type": "integer", "maximum": 9}},
    "required": ["city"],
}
TOOLS: tuple[dict[str, Any], ...] = tuple(
    {"type": "function", "function": {"name": name, "parameters": PARAMETERS}}
    for name in ("weather", "flights")
)
SUM = ConstraintSpec(
    kind=ConstraintKind.JSON_SCHEMA,
    text=json.dumps({"type": "object", "properties": {"sum": {"maximum": 99, "type": "integer"}}}),
)
WEATHER, SUM_OF_TWO = "What is the weather in Paris?", "What is 2 + 2?"
MANY = range(5)  # seeds, at a heat at which the model by itself writes nonsense


@dataclass
class Reply:
    """An answer, taken apart."""

    calls: list[ToolCall]
    text: str
    thought: str
    num_thought: int


class Runner:
    """A runner's way from a request to a sequence and its text."""

    def __init__(self, model: Model, context: LlamaContext) -> None:
        self.model = model
        self.answerer = Answerer(model, context, GrammarCompiler(model))
        self.chat = ChatFormat(
            analyze(model.chat_template, Allowance()), bos=model.bos, eos=model.eos
        )
        self.constraining = ReplyConstraints(model)

    def sequence(self, question: str, *, seed: int = 1, heat: float = 0, **fields: Any) -> Sequence:
        generation = as_it_arrives(generation_of(question, **fields))
        self.prompt = self.chat.render(spec_of(generation), [], Allowance())
        tokens = self.model.tokenize(self.prompt)
        seq = Sequence(
            request_id=1,
            tokens=tokens,
            max_tokens=len(tokens) + 150,
            sampling=SamplingParams(temperature=heat, top_k=0, top_p=1, seed=seed),
        )
        self.constraining.bind(seq, generation, self.prompt, self.chat, Allowance())
        return seq

    def reply(self, question: str, **fields: Any) -> Reply:
        seq = self.sequence(question, **fields)
        parser = StreamParser(self.chat.profile, self.prompt, Tools.of(TOOLS))
        parts = [*parser.push(self.answerer.run(seq)), *parser.finish()]
        assert seq.constraint is None or seq.constraint.failure is None
        return Reply(
            calls_of(parts),
            "".join(part.text for part in parts if isinstance(part, TextPart)),
            "".join(part.text for part in parts if isinstance(part, ReasoningPart)),
            seq.thinking.num_tokens if seq.thinking else 0,
        )


def generation_of(
    question: str,
    tools: tuple[JsonObject, ...] = (),
    template_options: JsonObject | None = None,
    **fields: Any,
) -> Generation:
    messages = ({"role": "user", "content": question},)
    prompt = PromptSpec(messages=messages, tools=tools, template_options=template_options or {})
    return Generation(prompt=prompt, **fields)


def as_it_arrives(generation: Generation) -> Generation:
    """Send the options through a frame, which changes the types of what is nested."""
    arrived = decode(encode(Generate(request_id=1, generation=generation))[LENGTH.size :])
    assert isinstance(arrived, Generate)
    return arrived.generation


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    native_log = start()
    model = load_model(
        [embedded_models()["guide:latest"]],
        native_log=native_log,
        num_gpu_layers=0,
        on_progress=lambda _: None,
    )
    context = LlamaContext(model, LIMITS, num_threads=1)
    yield Runner(model, context)
    context.close()
    model.close()


def is_correct(call: ToolCall) -> bool:
    arguments = dict(call.arguments)
    return (
        call.name in {"weather", "flights"}
        and arguments.pop("city") in {"Paris", "Oslo"}
        and int(arguments.pop("days", 0)) <= 9
        and not arguments
    )


@pytest.mark.parametrize("seed", MANY)
def test_a_required_call_comes_whatever_is_asked_and_is_correct(runner: Runner, seed: int) -> None:
    reply = runner.reply(SUM_OF_TWO, seed=seed, heat=2.0, tools=TOOLS, tool_choice="required")

    assert reply.calls
    assert all(map(is_correct, reply.calls))
    assert reply.text == ""


@pytest.mark.parametrize("seed", MANY)
def test_the_named_tool_is_called_and_once_if_so_said(runner: Runner, seed: int) -> None:
    reply = runner.reply(
        WEATHER,
        seed=seed,
        heat=2.0,
        tools=TOOLS,
        tool_choice="flights",
        parallel_tool_calls=False,
    )

    assert [call.name for call in reply.calls] == ["flights"]
    assert is_correct(reply.calls[0])


def test_a_required_call_comes_behind_the_thought(runner: Runner) -> None:
    reply = runner.reply(
        WEATHER,
        tools=TOOLS,
        tool_choice="required",
        template_options={"enable_thinking": True},
    )

    assert reply.thought
    assert [call.name for call in reply.calls] == ["weather"]


@pytest.mark.parametrize("is_parallel", [True, False])
def test_a_call_that_may_come_is_correct_once_it_begins(
    runner: Runner, *, is_parallel: bool
) -> None:
    replies = [
        runner.reply(WEATHER, seed=seed, heat=1.5, tools=TOOLS, parallel_tool_calls=is_parallel)
        for seed in MANY
    ]

    called = [reply for reply in replies if reply.calls]
    assert called
    assert all("<tool_call>" not in reply.text for reply in replies)
    assert all(is_correct(call) for reply in called for call in reply.calls)
    assert is_parallel or all(len(reply.calls) == 1 for reply in called)


def test_an_answer_need_not_call(runner: Runner) -> None:
    reply = runner.reply("Hello, who are you?", tools=TOOLS)

    assert reply.calls == []
    assert "guide" in reply.text


def test_with_a_format_the_answer_is_that_or_a_call(runner: Runner) -> None:
    called = runner.reply(WEATHER, tools=TOOLS, constraint=SUM)
    hot = [
        runner.reply(SUM_OF_TWO, seed=seed, heat=2.0, tools=TOOLS, constraint=SUM) for seed in MANY
    ]
    plain = runner.reply(WEATHER, tools=(), constraint=SUM, tool_choice="none")

    assert [call.name for call in called.calls] == ["weather"]
    for reply in hot:
        assert bool(reply.calls) != bool(reply.text)
        assert reply.calls or json.loads(reply.text).keys() <= {"sum"}
    assert json.loads(plain.text).keys() <= {"sum"}


def test_what_asks_for_nothing_costs_nothing(runner: Runner) -> None:
    assert runner.sequence(WEATHER).constraint is None
    assert runner.sequence(WEATHER, tool_choice="none").constraint is None


def test_schemas_that_no_grammar_takes_are_refused_only_where_a_call_is_forced(
    runner: Runner,
) -> None:
    large = {
        "type": "object",
        "properties": {"x": {"enum": ["y" * 50 + str(n) for n in range(3000)]}},
    }
    tools = ({"type": "function", "function": {"name": "weather", "parameters": large}},)

    assert runner.sequence(WEATHER, tools=tools).constraint is None
    with pytest.raises(UsageError, match="tools has") as caught:
        runner.sequence(WEATHER, tools=tools, tool_choice="required")
    assert caught.value.param == "tools"


def test_a_tool_that_is_not_there_cannot_be_forced(runner: Runner) -> None:
    with pytest.raises(UsageError, match="'zork'"):
        runner.sequence(WEATHER, tools=TOOLS, tool_choice="zork")


@pytest.mark.parametrize("constraint", [None, SUM])
@pytest.mark.parametrize("budget", [0, 5])
def test_a_thought_ends_at_its_budget(runner: Runner, budget: int, constraint: Any) -> None:
    fields: dict[str, Any] = {"template_options": {"enable_thinking": True}}
    free = runner.reply(SUM_OF_TWO, **fields)

    reply = runner.reply(SUM_OF_TWO, thinking_budget=budget, constraint=constraint, **fields)

    assert budget < reply.num_thought <= budget + 3 < free.num_thought  # and the closing tag
    assert len(reply.thought) < len(free.thought)
    assert reply.text if constraint is None else json.loads(reply.text)


def test_an_effort_is_a_budget_where_the_template_knows_none(runner: Runner) -> None:
    options = {"enable_thinking": True, "reasoning_effort": "low"}

    assert runner.sequence(SUM_OF_TWO, template_options=options).constraint is not None
    options["reasoning_effort"] = "high"
    assert runner.sequence(SUM_OF_TWO, template_options=options).constraint is None


@pytest.mark.parametrize("seed", MANY)
def test_arguments_that_a_tool_does_not_name_cannot_come(runner: Runner, seed: int) -> None:
    none = {"type": "object", "properties": {}, "required": []}
    tools = ({"type": "function", "function": {"name": "weather", "parameters": none}},)

    reply = runner.reply(WEATHER, seed=seed, heat=2.0, tools=tools, tool_choice="required")

    assert {str(call.arguments) for call in reply.calls} == {"{}"}
