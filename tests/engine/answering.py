"""Constrained answers of the real model, drawn wildly so that the grammar does the work."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localrun.engine.engine import Engine
from localrun.engine.params import ConstraintKind, ConstraintSpec, FinishReason, SamplingParams
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.sequence import Sequence

if TYPE_CHECKING:
    from localrun.engine.constraints.compiler import GrammarCompiler
    from localrun.engine.context import LlamaContext
    from localrun.engine.llama.model import Model

LIMITS = SchedulerLimits(num_slots=4, num_cells=2048)
CHAT = "<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n"
MAX_TOKENS = 400


class Answerer:
    def __init__(self, model: Model, context: LlamaContext, grammars: GrammarCompiler) -> None:
        self.model = model
        self.context = context
        self.grammars = grammars

    def answer(
        self, spec: ConstraintSpec, *, seed: int = 1, prompt: str = CHAT, heat: float = 2.0
    ) -> str:
        """Return a whole answer; one that is cut off by its length fails the test."""
        tokens = self.model.tokenize(prompt)
        seq = Sequence(
            request_id=seed,
            tokens=tokens,
            max_tokens=len(tokens) + MAX_TOKENS,
            sampling=SamplingParams(temperature=heat, top_k=0, top_p=1, seed=seed),
            constraint=self.grammars.constrain(spec, prompt),
        )
        text = self.run(seq)
        assert seq.finish is FinishReason.STOP, text
        assert seq.constraint is not None
        assert seq.constraint.failure is None
        return text

    def run(self, seq: Sequence) -> str:
        cache = self.context.open_cache()
        scheduler = Scheduler(LIMITS, cache)
        engine = Engine(self.context, scheduler, pieces=self.model.pieces, eog=self.model.eog)
        engine.submit(seq)
        text = ""
        while engine.has_work:
            text += "".join(output.text for output in engine.step())
        cache.clear()
        return text


def schema(value: dict[str, Any], **stages: Any) -> ConstraintSpec:
    return ConstraintSpec(
        kind=ConstraintKind.JSON_SCHEMA, text=json.dumps(value), param="format", **stages
    )


def written(kind: ConstraintKind, text: str, **stages: Any) -> ConstraintSpec:
    return ConstraintSpec(kind=kind, text=text, param="grammar", **stages)
