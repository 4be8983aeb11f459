"""Fields of requests that engines take, by the kind of engine.

A parameter at the value that disables it is left out where the engine lacks it, since programs
send such values by themselves. Any other parameter that the engine lacks is an error that names
it: most engines would ignore it without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.engine.params import ConstraintKind
from localrun.errors import UsageError
from localrun.remote.model import EngineKind

if TYPE_CHECKING:
    from localrun.engine.params import ConstraintSpec
    from localrun.remote.model import RemoteModel
    from localrun.runner.messages import JsonObject

STANDARD = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
COMMON = ("top_k", "min_p", "repeat_penalty", "min_tokens", "ignore_eos")
LLAMA_CPP = (
    "typical_p", "top_n_sigma", "xtc_probability", "xtc_threshold", "repeat_last_n",
    "dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n",
    "dry_sequence_breakers", "dynatemp_range", "dynatemp_exponent", "mirostat", "mirostat_tau",
    "mirostat_eta",
)  # fmt: skip
NO_EFFECT = {"draft_num_predict"}  # on the text
OFF: dict[str, Any] = {
    "top_k": 0, "min_p": 0, "repeat_penalty": 1, "min_tokens": 0, "ignore_eos": False,
    "typical_p": 1, "xtc_probability": 0, "dry_multiplier": 0, "dynatemp_range": 0, "mirostat": 0,
    "repeat_last_n": None,
}  # fmt: skip
DEPENDENT = {  # parameters without effect while another one is off
    "xtc_threshold": "xtc_probability",
    "dynatemp_exponent": "dynatemp_range",
    "mirostat_tau": "mirostat",
    "mirostat_eta": "mirostat",
    "repeat_last_n": "repeat_penalty",
    **dict.fromkeys(
        ("dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers"),
        "dry_multiplier",
    ),
}
_GUIDED: dict[ConstraintKind, tuple[str, ...]] = {
    ConstraintKind.REGEX: ("structured_outputs", "regex"),
    ConstraintKind.CHOICE: ("structured_outputs", "choice"),
    ConstraintKind.GBNF: ("structured_outputs", "grammar"),
}
# the place of a constraint in a request
GRAMMARS: dict[EngineKind, dict[ConstraintKind, tuple[str, ...]]] = {
    EngineKind.LOCALRUN: {**_GUIDED, ConstraintKind.LARK: ("structured_outputs", "grammar")},
    EngineKind.VLLM: _GUIDED,
    EngineKind.SGLANG: {ConstraintKind.REGEX: ("regex",), ConstraintKind.GBNF: ("ebnf",)},
    EngineKind.LLAMA_SERVER: {ConstraintKind.GBNF: ("grammar",)},
}
EFFORTS = ("low", "medium", "high")  # that all engines know
OWN = {EngineKind.LOCALRUN, EngineKind.LLAMA_SERVER}  # llama.cpp's samplers
PLAIN = {EngineKind.OPENAI, EngineKind.TGI}  # OpenAI's fields and no others


class EngineFields:
    """Translator of parameters for the engine of one remote model; ``name`` is for errors."""

    def __init__(self, name: str, model: RemoteModel) -> None:
        self._name = name
        self._model = model
        self._kind = model.engine

    @property
    def kind(self) -> EngineKind:
        """Return the kind of engine."""
        return self._kind

    def refused(self, field: str, *, why: str = "") -> UsageError:
        """Return the error of a field that the engine lacks."""
        reason = why or f"the engine ({self._kind}) takes no such field"
        return UsageError(
            f"{self._name} is answered by {self._model.first.host}: {field}: {reason}",
            hint=f"localrun show {self._name}   names the engine; remote add --engine sets it",
            param=field,
        )

    def sampling(self, given: JsonObject) -> JsonObject:
        """Return the sampling parameters as the engine spells them.

        Raises:
            UsageError: the engine lacks a parameter that is not off.
        """
        fields: JsonObject = {}
        for name, value in given.items():
            if name in STANDARD:
                fields[name] = value
            elif name == "logit_bias":
                if value:
                    fields[name] = {str(token): bias for token, bias in value}
            elif self._takes(name):
                fields |= self._spelled(name, value)
            elif not _is_off(name, value, given):
                raise self.refused(name)
        return fields

    def constraint(self, spec: ConstraintSpec | None) -> JsonObject:
        """Return the fields of structured output.

        Raises:
            UsageError: the engine lacks the language of the constraint.
        """
        if spec is None:
            return {}
        if spec.kind is ConstraintKind.JSON_OBJECT:
            return {"response_format": {"type": "json_object"}}
        if spec.kind is ConstraintKind.JSON_SCHEMA:
            import json

            schema = {"name": "answer", "schema": json.loads(spec.text), "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        fields = self._grammar(spec)
        if fields is None:
            why = f"the engine ({self._kind}) takes no {spec.kind}"
            raise self.refused(spec.param, why=f"{why}; a JSON Schema works")
        return fields

    def thinking(self, options: JsonObject, budget: int | None) -> JsonObject:
        """Return the switches of reasoning; those that no field can carry are left out."""
        if self._kind is EngineKind.TGI:
            return {}
        fields: JsonObject = {}
        effort = options.get("reasoning_effort")
        if effort in EFFORTS or (effort and self._kind in {EngineKind.LOCALRUN, EngineKind.OPENAI}):
            fields["reasoning_effort"] = effort
        if self._kind is EngineKind.OPENAI:
            return fields
        if options:
            fields["chat_template_kwargs"] = dict(options)
        if budget is not None:
            fields["thinking_budget"] = budget
        return fields

    def length(self, num_predict: int | None, *, is_chat: bool) -> JsonObject:
        """Return the field of the most tokens; for a text, none of them would mean 16."""
        if num_predict is not None:
            is_new = is_chat and self._kind is EngineKind.OPENAI
            return {"max_completion_tokens" if is_new else "max_tokens": num_predict}
        if is_chat:
            return {}
        if self._kind in OWN:
            return {"max_tokens": -1}
        return {"max_tokens": None}

    def prompt_end(self, *, adds_prompt: bool, continues: bool) -> JsonObject:
        """Return the fields by which the answer continues the last message.

        Raises:
            UsageError: the engine cannot do it.
        """
        if not continues and adds_prompt:
            return {}
        if self._kind in PLAIN:
            field = "continue_final_message" if continues else "add_generation_prompt"
            raise self.refused(field)
        if continues and self._kind is EngineKind.LLAMA_SERVER:
            return {}  # it continues a last message of the assistant by itself
        return {"add_generation_prompt": False, "continue_final_message": continues}

    def _takes(self, name: str) -> bool:
        if name in NO_EFFECT:
            return self._kind in OWN
        if self._kind in PLAIN:
            return False
        return name in COMMON or (name in LLAMA_CPP and self._kind in OWN)

    def _spelled(self, name: str, value: object) -> JsonObject:
        if name == "repeat_penalty" and self._kind is not EngineKind.LOCALRUN:
            return {"repeat_penalty": value, "repetition_penalty": value}
        if name == "top_k" and value == 0 and self._kind not in OWN:
            return {"top_k": -1}
        if name == "draft_num_predict":
            return {name: value} if self._kind is EngineKind.LOCALRUN else {}
        return {name: list(value) if isinstance(value, tuple) else value}

    def _grammar(self, spec: ConstraintSpec) -> JsonObject | None:
        """Return the fields of a grammar, or None if the engine has none of its kind."""
        path = GRAMMARS.get(self._kind, {}).get(spec.kind)
        if path is None:
            return None
        value: Any = list(spec.choices) if spec.kind is ConstraintKind.CHOICE else spec.text
        for name in reversed(path):
            value = {name: value}
        return dict(value)


def _is_off(name: str, value: object, given: JsonObject) -> bool:
    """Return whether a parameter changes nothing at this value."""
    if name in NO_EFFECT or (name in OFF and value == OFF[name]):
        return True
    if name == "top_n_sigma":
        return isinstance(value, int | float) and value < 0
    switch = DEPENDENT.get(name)
    return switch is not None and given.get(switch, OFF[switch]) == OFF[switch]
