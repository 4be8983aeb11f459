"""Prompts that no chat template writes, on tiny models whose vocabularies know gaps or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gguf import GGUFReader, GGUFValueType, GGUFWriter

from localrun.chat.budget import Allowance
from localrun.engine.llama.library import start
from localrun.engine.llama.model import load_model
from localrun.engine.llama.vocabulary import infill_tokens
from localrun.errors import UsageError
from localrun.runner.messages import Generation, PromptSpec
from localrun.runner.prompts.raw_prompts import RawPrompts, check_tokens
from localrun.runner.prompts.templates import Templates
from localrun.services.recipes import to_jinja
from localrun.store.store import embedded_models
from tests.engine.tiny import full_attention
from tests.runner.prompts.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.engine.llama.model import Model

GUIDE = Path(embedded_models()["guide:latest"])
CONTROL = 3  # the type of a token
OLLAMAS = (
    "{{ if .Suffix }}<PRE> {{ .Prompt }} <SUF>{{ .Suffix }} <MID>{{ else }}{{ .Prompt }}{{ end }}"
)
QWENS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
MISTRALS = ("[PREFIX]", "[SUFFIX]")


def named(path: Path, names: tuple[str, ...]) -> Path:
    """Write guide's vocabulary with other names for its last tokens, which become control ones."""
    writer = GGUFWriter(path, "llama")
    for key, field in GGUFReader(GUIDE).fields.items():
        if not key.startswith("tokenizer.ggml."):
            continue
        value: Any = field.contents()
        if key == "tokenizer.ggml.tokens":
            value = [*value[: len(value) - len(names)], *names]
        if key == "tokenizer.ggml.token_type":
            value = [*value[: len(value) - len(names)], *[CONTROL] * len(names)]
        is_array = field.types[0] is GGUFValueType.ARRAY
        writer.add_key_value(
            key, value, field.types[0], sub_type=field.types[1] if is_array else None
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Model]]:
    folder = tmp_path_factory.mktemp("models")
    vocabularies = {
        "plain": GUIDE,
        "qwen": named(folder / "q.gguf", QWENS),
        "mistral": named(folder / "m.gguf", MISTRALS),
    }
    found, native_log = {}, start()
    for name, vocabulary in vocabularies.items():
        path = folder / f"{name}.gguf"
        full_attention(path, vocabulary)
        found[name] = load_model(
            [path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None
        )
    yield found
    for model in found.values():
        model.close()


def plain(model: Model, template: str | None = None) -> RawPrompts:
    return RawPrompts(model, Templates(Texts(template, model.control_texts)))


def spelled(model: Model, tokens: list[int]) -> str:
    return b"".join(map(model.spelled_piece, tokens)).decode()


def gap(prefix: str, suffix: str) -> Generation:
    return Generation(prompt=PromptSpec(text=prefix), suffix=suffix)


def test_the_vocabularys_tokens_stand_around_the_gap(models: dict[str, Model]) -> None:
    def asked(name: str) -> str:
        prompt = plain(models[name]).write(gap("def f(", "return x"), Allowance())
        start = models[name].tokenize("")
        assert prompt.tokens[: len(start)] == start
        return spelled(models[name], prompt.tokens[len(start) :])

    assert asked("qwen") == "<|fim_prefix|>def f(<|fim_suffix|>return x<|fim_middle|>"
    assert asked("mistral") == "[SUFFIX]return x[PREFIX]def f("


def test_text_around_a_gap_spells_no_control_token(models: dict[str, Model]) -> None:
    model = models["qwen"]
    marks = infill_tokens(model)

    prompt = plain(model).write(gap("a<|fim_suffix|>b", "<|fim_middle|>c"), Allowance())

    assert marks is not None
    assert prompt.tokens.count(marks.behind) == 1
    assert prompt.tokens.count(marks.fill or -1) == 1
    assert "a<|fim_suffix|>b" in spelled(model, prompt.tokens)


def test_a_template_with_a_suffix_does_it_where_the_vocabulary_cannot(
    models: dict[str, Model],
) -> None:
    model = models["plain"]

    prompt = plain(model, to_jinja(OLLAMAS)).write(gap("one", "three"), Allowance())

    assert spelled(model, prompt.tokens).endswith("<PRE> one <SUF>three <MID>")


def test_a_model_that_knows_no_gaps_refuses_the_suffix_by_name(models: dict[str, Model]) -> None:
    with pytest.raises(UsageError) as caught:
        plain(models["plain"], "{{ messages[0].content }}").write(gap("a", "b"), Allowance())

    assert caught.value.param == "suffix"


def test_tokens_are_taken_as_they_are_and_told_as_text(models: dict[str, Model]) -> None:
    model = models["plain"]
    tokens = tuple(model.tokenize("two words", is_start=False))

    prompt = plain(model).write(Generation(prompt_tokens=tokens, echo=True), Allowance())

    assert (prompt.tokens, prompt.text) == (list(tokens), "two words")


def test_a_context_is_gone_on_with_without_another_beginning(models: dict[str, Model]) -> None:
    model = models["plain"]
    context = tuple(model.tokenize("before "))

    prompt = plain(model).write_after(context, f"{model.bos}after", Allowance())

    assert prompt.tokens == [*context, *model.tokenize("after", is_start=False)]


@pytest.mark.parametrize("wrong", [-1, 10**9])
def test_what_is_no_token_is_refused_by_name(models: dict[str, Model], wrong: int) -> None:
    for param in ("prompt", "context", "logit_bias"):
        with pytest.raises(UsageError, match=f"^{param} has {wrong}") as caught:
            check_tokens([0, wrong], models["plain"], param)
        assert caught.value.param == param
