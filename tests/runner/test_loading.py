"""A load does each piece of work once, and none that the first answer does not need."""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import llguidance.llamacpp
import pytest

from localrun.chat.budget import Allowance
from localrun.chat.sandbox import BoundedEnvironment
from localrun.engine.llama import special_tokens
from localrun.engine.llama.library import start
from localrun.engine.llama.memory.memory_log import MemoryTaken
from localrun.engine.llama.token_pieces import TokenSpeller
from localrun.engine.pacing.reader import AnswerReader
from localrun.engine.params import (
    ConstraintKind,
    ConstraintSpec,
    LoadOptions,
    OverflowPolicy,
    SamplingParams,
)
from localrun.errors import LoadError
from localrun.gguf.header import read_header
from localrun.hardware.device import Device, DeviceKind
from localrun.runner import loading
from localrun.runner.channel import Channel
from localrun.runner.loading import LoadedModel
from localrun.runner.messages import Generate, Generation, Load, PromptSpec
from localrun.runner.saved_prompts import SavedPrompts
from localrun.store.store import embedded_models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GUIDE = embedded_models()["guide:latest"]
TEMPLATE = read_header(GUIDE).text("tokenizer.chat_template")
NUM_CTX = 512
CARDS = (
    Device(
        backend="CUDA",
        index=0,
        name="CUDA0",
        description="NVIDIA H200",
        kind=DeviceKind.GPU,
        total_bytes=1,
        free_bytes=1,
    ),
)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return how often expensive functions are called."""
    calls: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)

    count(special_tokens, "_of_each")  # token of the vocabulary
    count(BoundedEnvironment, "compile")
    count(loading, "file_identities")
    count(llguidance.llamacpp, "lltokenizer_from_vocab")
    count(TokenSpeller, "pieces")
    return calls


@pytest.fixture
def channel() -> Iterator[Channel]:
    ours, others = socket.socketpair()
    with ours, others:
        yield Channel(ours)


def loaded(load: Load, channel: Channel, saved: SavedPrompts | None = None) -> LoadedModel:
    taken = MemoryTaken()
    return LoadedModel(load, start(taken.read_line), channel, taken, saved)


def load_of(path: Path, template: str | None = TEMPLATE) -> Load:
    return Load(
        model_paths=(str(path),),
        num_ctx=NUM_CTX,
        chat_template=template,
        options=LoadOptions(devices=()),
    )


def asking(text: str, constraint: ConstraintSpec | None = None) -> Generate:
    prompt = PromptSpec(messages=({"role": "user", "content": text},), chat_template=TEMPLATE)
    return Generate(
        request_id=1,
        generation=Generation(prompt=prompt, constraint=constraint),
        sampling=SamplingParams(temperature=0),
        num_predict=8,
        stop=(),
        overflow=OverflowPolicy(),
        adapters=(),
    )


def test_a_load_and_its_first_prompt_do_the_work_once(
    counts: Counter[str], channel: Channel, tmp_path: Path
) -> None:
    model = loaded(load_of(GUIDE), channel, SavedPrompts(root=tmp_path))

    opened = model.generation.open(asking("What is 2 + 3?"), Allowance())

    assert opened.started.profile
    assert counts == {"_of_each": 1, "compile": 1, "file_identities": 1}
    model.close()


def test_the_vocabulary_is_prepared_for_grammars_by_the_first_of_them(
    counts: Counter[str], channel: Channel
) -> None:
    model = loaded(load_of(GUIDE), channel)
    yes_or_no = ConstraintSpec(kind=ConstraintKind.CHOICE, choices=("yes", "no"))

    model.generation.open(asking("yes?"), Allowance())
    without = counts["lltokenizer_from_vocab"]
    for _ in range(2):
        model.generation.open(asking("yes?", yes_or_no), Allowance())

    assert (without, counts["lltokenizer_from_vocab"]) == (0, 1)
    model.close()


def test_a_model_loads_with_a_template_that_is_not_valid(channel: Channel) -> None:
    model = loaded(load_of(GUIDE, "{% if %}"), channel)

    assert model.generation.open(asking("hi"), Allowance()).seq.num_prompt
    model.close()


def test_the_template_of_the_file_serves_a_load_that_names_none(channel: Channel) -> None:
    named, unnamed = loaded(load_of(GUIDE), channel), loaded(load_of(GUIDE, None), channel)

    prompts = [model.generation.open(asking("hi"), Allowance()).seq for model in (named, unnamed)]

    assert prompts[0].tokens == prompts[1].tokens
    named.close()
    unnamed.close()


def test_a_streamed_answer_has_a_reader_of_the_speed_of_the_load(channel: Channel) -> None:
    model = loaded(replace(load_of(GUIDE), reading_speed=20), channel)
    request = asking("hi")
    streamed = replace(request, generation=replace(request.generation, is_streamed=True))

    sequences = [model.generation.open(each, Allowance()).seq for each in (request, streamed)]

    assert sequences[0].reader is None
    assert sequences[1].reader == AnswerReader(0.05)
    model.close()


@pytest.mark.parametrize(
    ("num_batch", "devices", "expected"),
    [
        (None, (), (2048, 512, 256, False)),
        (300, (), (300, 0, 256, False)),
        (None, CARDS, (2048, 512, 512, True)),
    ],
)
def test_steps_have_parts_and_whole_tiles_of_prompts_calls_of_their_own_on_processors(
    channel: Channel,
    num_batch: int | None,
    devices: tuple[Device, ...],
    expected: tuple[int, int, int, bool],
) -> None:
    load = load_of(GUIDE)
    load = replace(load, options=replace(load.options, num_batch=num_batch))
    model = loaded(load, channel)
    model._model.devices = devices

    limits = model._context_limits()

    sizes = limits.step_tokens, limits.call_tokens, limits.part_tokens
    assert (*sizes, limits.mixes_tiles) == expected
    model._model.devices = ()
    model.close()


def test_a_damaged_file_is_refused_by_llama_cpp_with_its_reason(
    channel: Channel, tmp_path: Path
) -> None:
    damaged = tmp_path / "model.gguf"
    damaged.write_bytes(GUIDE.read_bytes()[:100_000])

    with pytest.raises(
        LoadError, match=r"model\.gguf could not be loaded: (?!llama_model_load_from_file)"
    ):
        loaded(load_of(damaged), channel, SavedPrompts(root=tmp_path / "prompts"))
