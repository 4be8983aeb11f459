"""Generator of random requests to a runner, and checks of their answers.

All features of requests are mixed, because the remaining faults are in combinations of features.
A seed reproduces the requests, but not their timing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.engine.params import (
    ConstraintKind,
    ConstraintSpec,
    FinishReason,
    OverflowPolicy,
    Pooling,
    SamplingParams,
)
from localrun.runner.messages import (
    Detokenize,
    Embed,
    Failed,
    Finished,
    Generate,
    Generation,
    JsonObject,
    PromptSpec,
    Rerank,
    Step,
    Submitted,
    Terminal,
    Tokenize,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from pathlib import Path

    from localrun.runner.messages import Event

WORDS = "one two three the sea a list of colours memory how to stop a model é 😀 <|im_end|>".split()
SYSTEMS = ("You are a pirate.", "Answer in one word. " * 12, "")
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
TOOL: JsonObject = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": ["string", "null"]}, "days": {"enum": [1, 2]}},
            "required": ["city"],
        },
    },
}
CHOICES = ("yes", "no", "perhaps")
DIGITS = "[0-9]{3}-[0-9]{2}"
CONSTRAINTS = (
    ConstraintSpec(kind=ConstraintKind.JSON_OBJECT),
    ConstraintSpec(kind=ConstraintKind.JSON_SCHEMA, text=json.dumps(SCHEMA)),
    ConstraintSpec(kind=ConstraintKind.CHOICE, choices=CHOICES),
    ConstraintSpec(kind=ConstraintKind.REGEX, text=DIGITS),
    ConstraintSpec(kind=ConstraintKind.GBNF, text='root ::= "a" | "b" root'),
    ConstraintSpec(kind=ConstraintKind.LARK, text='start: "x" | "y" start'),
)
WRONG = (
    ConstraintSpec(kind=ConstraintKind.REGEX, text="[0-9"),
    ConstraintSpec(kind=ConstraintKind.JSON_SCHEMA, text="[]"),
    ConstraintSpec(kind=ConstraintKind.GBNF, text="root ::= ["),
)


@dataclass(frozen=True, slots=True)
class RequestBatch:
    """Requests that are submitted together, and the delay until they are cancelled, or None."""

    requests: tuple[Submitted, ...]
    cancel_after_s: float | None


class RequestGenerator:
    """Generator of requests for one model; ``adapters`` are LoRA adapters of the model."""

    def __init__(
        self, chance: random.Random, adapters: Sequence[Path], *, can_generate: bool = True
    ) -> None:
        self._chance = chance
        self._adapters = [str(path) for path in adapters]
        self._can_generate = can_generate

    def next(self) -> RequestBatch:
        """Return the next requests."""
        chance = self._chance
        cancel_after_s = chance.choice((0.0, 0.01, 0.1, 0.5)) if chance.random() < 0.2 else None
        if not self._can_generate or chance.random() < 0.15:
            return RequestBatch((self._other(),), cancel_after_s)
        first = self._generate()
        count = chance.choice((2, 3, 5)) if chance.random() < 0.15 else 1
        return RequestBatch(
            tuple(self._choice(first, number) for number in range(count)), cancel_after_s
        )

    def _choice(self, first: Generate, number: int) -> Generate:
        seed = first.sampling.seed
        seeded = replace(first.sampling, seed=None if seed is None else seed + number)
        return replace(first, sampling=seeded)

    def _generate(self) -> Generate:
        chance = self._chance
        fields: JsonObject = {}
        options: JsonObject = {}
        if chance.random() < 0.3:
            options["prompt"] = PromptSpec(text=self._text(60))
        else:
            options |= self._chat()
        if chance.random() < 0.3:
            options["constraint"] = chance.choice(CONSTRAINTS if chance.random() < 0.9 else WRONG)
        if chance.random() < 0.3:
            options["logprobs"] = chance.choice((0, 1, 5, 20))
        if chance.random() < 0.4:
            num_keep = chance.choice((None, 0, 8, -1, 10_000))
            fields["overflow"] = OverflowPolicy(
                drops=chance.random() < 0.5, shifts=chance.random() < 0.7, num_keep=num_keep
            )
        num_predict = chance.choice((1, 2, 5, 20, 60, 200, None))
        if num_predict is None and "overflow" in fields and fields["overflow"].shifts:
            num_predict = 900  # enough for two or three context shifts
        if self._adapters and chance.random() < 0.4:
            count = chance.choice((1, 1, 2))
            fields["adapters"] = tuple(
                (chance.choice(self._adapters), chance.choice((1.0, 0.5, -1.0, 0.0)))
                for _ in range(count)
            )
        elif chance.random() < 0.02:
            fields["adapters"] = (("/nowhere/adapter.gguf", 1.0),)
        return Generate(
            request_id=0,
            generation=Generation(echo=chance.random() < 0.1, **options),
            sampling=self._sampling(),
            num_predict=num_predict,
            stop=chance.choice(((), (), (".",), ("e", "th"), ("\n\n",))),
            **fields,
        )

    def _chat(self) -> JsonObject:
        chance = self._chance
        messages: list[JsonObject] = []
        system = chance.choice(SYSTEMS)
        if system:
            messages.append({"role": "system", "content": system})
        for _ in range(chance.choice((0, 0, 1, 2, 9))):
            messages.append({"role": "user", "content": self._text(30)})
            messages.append({"role": "assistant", "content": self._text(30)})
        messages.append({"role": "user", "content": self._text(40)})
        spec = PromptSpec(messages=tuple(messages))
        fields: JsonObject = {}
        if chance.random() < 0.25:
            spec = replace(spec, tools=(TOOL,))
            fields["tool_choice"] = chance.choice(("auto", "auto", "required", "get_weather"))
            fields["parallel_tool_calls"] = chance.random() < 0.5
        if chance.random() < 0.25:
            spec = replace(spec, template_options={"enable_thinking": chance.random() < 0.5})
            fields["thinking_budget"] = chance.choice((None, 0, 3, 20))
        return {"prompt": spec, **fields}

    def _sampling(self) -> SamplingParams:
        chance = self._chance
        plain = SamplingParams(
            temperature=chance.choice((0.0, 0.0, 0.7, 1.5)),
            seed=chance.choice((None, 1, 2)),
            draft_num_predict=chance.choice((None, None, 0, 2)),
            ignore_eos=chance.random() < 0.3,
        )
        odd = (
            {"repeat_penalty": 1.3},
            {"presence_penalty": 0.5, "frequency_penalty": 0.5, "repeat_last_n": -1},
            {"dry_multiplier": 0.8},
            {"mirostat": 1, "temperature": 0.8},
            {"mirostat": 2, "temperature": 0.8},
            {"xtc_probability": 0.5, "min_p": 0.02, "typical_p": 0.9, "top_n_sigma": 1.0},
            {"logit_bias": ((300, 5.0), (301, -100.0)), "dynatemp_range": 0.3},
        )
        return replace(plain, **chance.choice(odd)) if chance.random() < 0.4 else plain

    def _other(self) -> Submitted:
        chance = self._chance
        kind = chance.randrange(6)
        if kind == 0:
            return Tokenize(request_id=0, prompt=PromptSpec(text=self._text(50)))
        if kind == 1:
            return Detokenize(request_id=0, tokens=(chance.randrange(400), 5))
        if kind == 2:
            documents = tuple(self._text(40) for _ in range(chance.randrange(1, 6)))
            return Rerank(request_id=0, query=self._text(9), documents=documents, truncate=True)
        inputs: list[str | tuple[int, ...]] = [
            self._text(chance.choice((5, 50, 400))) for _ in range(chance.choice((1, 3, 40)))
        ]
        return Embed(
            request_id=0,
            inputs=tuple(inputs),
            pooling=chance.choice((None, Pooling.MEAN, Pooling.LAST, Pooling.CLS)),
            truncate=chance.random() < 0.7,
        )

    def _text(self, most: int) -> str:
        """Return words that often share their beginning with other texts."""
        chance = self._chance
        begin = chance.choice(((), WORDS[:6], WORDS[:9]))
        drawn = (chance.choice(WORDS) for _ in range(chance.randrange(1, most)))
        return " ".join([*begin, *drawn])


def complaint(request: Submitted, events: Sequence[Event]) -> str | None:
    """Return the fault in the events of a finished request, or None."""
    ends = [event for event in events if isinstance(event, Terminal)]
    if len(ends) != 1 or events[-1] is not ends[0]:
        return f"{len(ends)} ends among {len(events)} events"
    if not isinstance(request, Generate) or not isinstance(ends[0], Finished):
        return None
    text = "".join(
        piece for event in events if isinstance(event, Step) for _, piece in event.deltas
    )
    return (
        _wrong_count(request, ends[0])
        or _wrong_scores(request, events, text, ends[0])
        or _wrong_shape(request, text, ends[0])
    )


def is_refusal(event: Event) -> bool:
    """Return whether the runner refused the request."""
    return isinstance(event, Failed) and event.code != "runner_died"


def _wrong_count(request: Generate, end: Finished) -> str | None:
    if request.num_predict is not None and end.generated_tokens > request.num_predict:
        return f"{end.generated_tokens} tokens, {request.num_predict} were requested"
    if end.accepted_tokens > end.drafted_tokens or end.cached_tokens > end.prompt_tokens:
        return f"wrong numbers: {end}"
    if end.dropped_tokens and not request.overflow.shifts:
        return f"{end.dropped_tokens} tokens dropped without overflow=shift"
    return None


def _wrong_scores(
    request: Generate, events: Sequence[Event], text: str, end: Finished
) -> str | None:
    generation = request.generation
    scores = [
        score
        for event in events
        if isinstance(event, Step)
        for _, step_scores in event.scores
        for score in step_scores
    ]
    if generation.logprobs is None:
        return "scores were not requested" if scores else None
    prompt_scores = scores[:1] if generation.echo and scores and scores[0][1] is None else []
    starts = (
        (end.prompt_tokens, end.prompt_tokens - 1) if generation.echo else (0,)
    )  # without a start
    spelled = [
        b"".join(score[0] for score in scores[start:]).decode(errors="replace") for start in starts
    ]
    is_whole = end.reason is not FinishReason.CANCELLED
    if is_whole and not any(spelling.startswith(text) for spelling in spelled):
        return f"the scores spell {spelled[0]!r}, the text is {text!r}"
    for score in scores[len(prompt_scores) :]:
        if score[1] is None or score[1] > 1e-4 or len(score[2]) != generation.logprobs:
            return f"a score is wrong: {score}"
    return None


def _wrong_shape(request: Generate, text: str, end: Finished) -> str | None:
    spec = request.generation.constraint
    is_whole = end.reason is FinishReason.STOP and end.stop is None
    if spec is None or not is_whole or request.generation.prompt.tools:
        return None
    answer = re.sub(r"(?s)^.*</think>\s*", "", text)  # the prompt may have opened the reasoning
    return None if _holds(spec, answer) else f"{answer!r} does not fit {spec.kind} {spec.text}"


def _holds(spec: ConstraintSpec, answer: str) -> bool:
    if spec.kind in {ConstraintKind.JSON_OBJECT, ConstraintKind.JSON_SCHEMA}:
        try:
            value = json.loads(answer)
        except ValueError:
            return False
        return isinstance(value, dict) and (not spec.text or value.keys() == {"name", "age"})
    if spec.kind is ConstraintKind.CHOICE:
        return answer in spec.choices
    pattern = {ConstraintKind.GBNF: "b*a", ConstraintKind.LARK: "y*x"}.get(spec.kind, spec.text)
    return re.fullmatch(pattern, answer) is not None
