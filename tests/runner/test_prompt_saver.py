"""Prompts that come back from the disk are those that were computed, for every kind of memory."""

from __future__ import annotations

import functools
import queue
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.engine.context import LlamaContext
from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.media.library import MediaLibrary
from localrun.engine.params import CacheType, FinishReason, LoadOptions, SamplingParams
from localrun.engine.scheduler import SchedulerLimits
from localrun.engine.sequence import Sequence
from localrun.runner import prompt_saver
from localrun.runner.media.stable_ids import StableIds
from localrun.runner.messages import Event, Finished, Load
from localrun.runner.prompt_restorer import PromptRestorer
from localrun.runner.prompt_saver import NullPromptSaver, PromptSaver
from localrun.runner.saved_prompts import file_identities, prompt_scope
from localrun.runner.worker import CommandQueue, Worker
from localrun.store.prompts import PromptFolder
from localrun.store.store import embedded_models
from tests.engine.tiny import KINDS
from tests.runner.engine_parts import generation_parts
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.engine.media.encoder import MediaEncoder
    from localrun.engine.media.placement import SequenceMedia
    from localrun.store.prompt_file import PromptSegment

LIMITS = SchedulerLimits(num_slots=4, num_cells=2048)
MODEL = "0" * 32
native_log = start()


@pytest.fixture(scope="module", params=KINDS)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Model]:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    KINDS[request.param](path, embedded_models()["guide:latest"])
    found = load_model([path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a runner that ends wait for a busy disk."""
    monkeypatch.setattr(PromptSaver, "close", functools.partialmethod(PromptSaver.close, HANG_S))


class Serving:
    """A worker in its thread, as a runner has it."""

    def __init__(
        self,
        model: Model,
        root: Path,
        *,
        quiet_s: float = 0.0,
        limits: SchedulerLimits = LIMITS,
        encoder: MediaEncoder | None = None,
    ) -> None:
        self.folder = PromptFolder(root, MODEL, 10**9)
        library = encoder.library if encoder is not None else MediaLibrary()
        self.context = LlamaContext(model, limits, num_threads=1, skipped=library.skipped)
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.cache = self.context.open_cache()
        parts = generation_parts(model, limits, self.context, self.cache)
        commands = CommandQueue()
        ids = StableIds(library, self.folder.fingerprint)
        restorer = PromptRestorer(self.cache, self.folder, ids, commands.put)
        saver = PromptSaver(
            self.cache, self.folder, restorer, ids, num_vocab=model.num_vocab, quiet_s=quiet_s
        )
        parts = replace(parts, saver=saver, restorer=restorer, encoder=encoder)
        self.worker = Worker(parts, commands, self.events.put)
        self._thread = threading.Thread(target=self.worker.run, daemon=True)
        self._num_requests = 0
        self._thread.start()

    def submit(
        self, prompt: list[int], new: int = 12, media: SequenceMedia | None = None
    ) -> Sequence:
        self._num_requests += 1
        seq = Sequence(
            request_id=self._num_requests,
            tokens=[*prompt],
            max_tokens=len(prompt) + new,
            sampling=SamplingParams(temperature=0),
            media=media,
        )
        self.worker.submit(seq)
        return seq

    def next_finished(self) -> Finished:
        while True:
            event = self.events.get(timeout=HANG_S)
            if isinstance(event, Finished):
                return event

    def ask(self, prompt: list[int], new: int = 12, media: SequenceMedia | None = None) -> Sequence:
        seq = self.submit(prompt, new, media)
        self.next_finished()
        return seq

    def close(self) -> None:
        self.worker.stop()
        self._thread.join()
        self.worker.close()
        self.context.close()


def words(model: Model, text: str, count: int) -> list[int]:
    return (model.tokenize(text) * count)[:count]


def test_a_chat_goes_on_after_a_restart_as_if_there_was_none(model: Model, tmp_path: Path) -> None:
    chat = words(model, "Once upon a time there was a fox. ", 600)
    unsaved = Serving(model, tmp_path / "other")
    saved: list[int] = []
    for turn in range(3):
        before = len(chat) - 1  # the last token drawn was never computed
        chat += words(model, f"And then came number {turn}! ", 20)
        expected = unsaved.ask(chat)
        serving = Serving(model, tmp_path / "saved")
        seq = serving.ask(chat)
        serving.close()

        assert seq.tokens == expected.tokens
        saved.append(seq.num_cached)
        assert seq.num_cached == (before if turn else 0)
        chat = seq.tokens
    unsaved.close()


def test_a_slow_disk_brings_all_runs_back(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = words(model, "Once upon a time there was a fox. ", 600)
    read = PromptFolder.read
    serving = Serving(model, tmp_path)
    serving.ask(chat, 1)
    serving.close()

    def slowly(folder: PromptFolder, run: PromptSegment) -> bytes | None:
        time.sleep(0.1)  # noqa: TID251 - a slow disk
        return read(folder, run)

    monkeypatch.setattr(PromptFolder, "read", slowly)

    serving = Serving(model, tmp_path)
    seq = serving.ask([*chat, 300], 1)
    serving.close()

    assert seq.num_cached == len(chat)


def test_what_is_idle_is_saved_before_the_end(model: Model, tmp_path: Path) -> None:
    serving = Serving(model, tmp_path)
    seq = serving.ask(words(model, "A fox and a dog. ", 300))

    wait_until(lambda: saved_length(serving, seq.tokens) == len(seq.tokens) - 1)

    serving.close()


def saved_length(serving: Serving, tokens: list[int]) -> int:
    runs = [*serving.folder.find_whole(tokens), *serving.folder.find(tokens, 0)]
    return max((run.end for run in runs), default=0)


def test_a_damaged_file_costs_the_time_to_compute_and_no_more(model: Model, tmp_path: Path) -> None:
    prompt = words(model, "Once upon a time there was a fox. ", 600)
    first = Serving(model, tmp_path)
    expected = first.ask(prompt).tokens
    first.close()
    serving = Serving(model, tmp_path)
    for path in sorted(tmp_path.rglob("*.prompt"))[:1]:
        path.write_bytes(path.read_bytes()[:-1] + b"!")

    seq = serving.ask([*expected, 5, 6])

    assert seq.num_cached < len(expected) - 1
    assert seq.tokens == first_answer(model, tmp_path / "none", [*expected, 5, 6])
    serving.close()


def first_answer(model: Model, root: Path, prompt: list[int]) -> list[int]:
    serving = Serving(model, root)
    found = serving.ask(prompt).tokens
    serving.close()
    return found


def test_requests_that_come_together_after_a_restart_all_get_their_answers(
    model: Model, tmp_path: Path
) -> None:
    shared = words(model, "You are a helpful assistant and answer briefly. ", 280)
    first = Serving(model, tmp_path)
    first.ask([*shared, 7])
    first.close()
    serving = Serving(model, tmp_path)

    sequences = [serving.submit([*shared, 300 + number, 17]) for number in range(3)]
    other = serving.submit([9, 8, 7])
    for _ in range(4):
        serving.next_finished()

    assert all(seq.finish is FinishReason.LENGTH for seq in (*sequences, other))
    if model.shares_cells:
        assert [seq.num_cached for seq in sequences] == [280] * 3
    serving.close()


def test_a_request_that_waits_for_the_disk_can_be_cancelled(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = words(model, "Once upon a time there was a fox. ", 300)
    first = Serving(model, tmp_path)
    first.ask(prompt)
    first.close()
    serving = Serving(model, tmp_path)
    may_read = threading.Event()
    read = serving.folder.read
    monkeypatch.setattr(serving.folder, "read", lambda run: may_read.wait(HANG_S) and read(run))
    longer = [*first_tokens(first, prompt), 5]

    cancelled = [serving.submit(longer) for _ in range(3)]
    for seq in cancelled[:2]:
        serving.worker.cancel(seq.request_id)
        assert serving.next_finished().reason is FinishReason.CANCELLED
    may_read.set()

    assert serving.next_finished().request_id == cancelled[2].request_id
    assert cancelled[2].num_cached >= len(prompt)
    serving.close()


def first_tokens(serving: Serving, prompt: list[int]) -> list[int]:
    """Return the prompt with the answer that was saved behind it."""
    runs = serving.folder.find([*prompt], 0) or serving.folder.find_whole([*prompt, *[0] * 99])
    return [token for run in runs for token in run.tokens]


def test_a_stop_in_the_middle_of_an_answer_saves_what_was_computed(
    model: Model, tmp_path: Path
) -> None:
    prompt = words(model, "Once upon a time there was a fox. ", 300)
    first = Serving(model, tmp_path, quiet_s=10 * HANG_S)
    seq = first.submit(prompt, new=1500)
    wait_until(lambda: seq.num_generated >= 5)
    first.close()
    serving = Serving(model, tmp_path)

    again = serving.ask(seq.tokens)

    # of a state that the stop broke off, the last copy is saved
    num_saved = len(prompt) if model.memory.has_state else len(seq.tokens)
    assert again.num_cached >= num_saved - 1
    assert again.tokens == first_answer(model, tmp_path / "none", seq.tokens)
    serving.close()


def scope(load: Load, limits: SchedulerLimits = LIMITS, device: str = "") -> str:
    return prompt_scope(load, file_identities(load), limits, [device])


def test_settings_that_change_the_cache_name_another_folder(tmp_path: Path) -> None:
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"one")
    load = Load(model_paths=(str(weights),))
    names = {
        scope(load),
        scope(load, device="a GPU"),
        scope(load, replace(LIMITS, num_cells=1024)),
        scope(replace(load, adapters=((str(weights), 0.5),))),
        scope(replace(load, options=LoadOptions(cache_type=CacheType.Q8_0))),
    }
    same = scope(replace(load, chat_template="another"))
    weights.write_bytes(b"two")
    names.add(scope(load))

    assert len(names) == 6
    assert same in names


@pytest.mark.parametrize("is_quick", [False, True])
def test_an_idle_engine_thread_returns_freed_memory_once(
    *, is_quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    received: list[str] = []
    commands: queue.SimpleQueue[str] = queue.SimpleQueue()
    monkeypatch.setattr(prompt_saver, "RELEASE_S", HANG_S if is_quick else 0.0)
    monkeypatch.setattr(prompt_saver, "release_free_memory", released.set)
    waiting = threading.Thread(
        target=lambda: received.append(NullPromptSaver().next_command(commands))
    )
    waiting.start()
    if not is_quick:
        released.wait(HANG_S)
    commands.put("next")
    waiting.join()

    assert received == ["next"]
    assert released.is_set() != is_quick
