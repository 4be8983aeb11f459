"""A plan of what is not here yet costs its header."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError, ModelNotFoundError
from localrun.gguf.header import MIN_NOTED_ARRAY
from localrun.gguf.reader import Reader
from localrun.hardware import reading
from localrun.hardware.reading import shape_of
from localrun.services.machine.memory_plan import MemoryQuery, plan_memory
from localrun.store.store import embedded_models
from tests.services.making import NAME, REPO

if TYPE_CHECKING:
    from localrun.services.workspace import Workspace
    from tests.fakes.hub import FakeHub

ANYTHING = MemoryQuery()
GUIDE = embedded_models()["guide:latest"]


def test_a_model_that_is_elsewhere_is_asked_for_its_header_alone(
    workspace: Workspace, hub: FakeHub
) -> None:
    weights = GUIDE.read_bytes()
    hub.add("owner/guide-GGUF", {"guide-Q8_0.gguf": weights + os.urandom(4_000_000)})

    found = plan_memory(workspace, "hf.co/owner/guide-GGUF:Q8_0", ANYTHING)

    assert found.shape == shape_of([GUIDE])
    assert not found.is_here
    assert found.plan.fits
    ranges = [request.headers.get("range") for request in hub.file_requests]
    assert ranges == ["bytes=0-1048575"]
    assert workspace.store.entries() == []


def test_the_projector_of_a_model_that_is_elsewhere_is_counted(
    workspace: Workspace, hub: FakeHub
) -> None:
    eyes = GUIDE.with_name("mmproj-guide.gguf").read_bytes() + bytes(5_000_000)
    files = {"guide-Q8_0.gguf": GUIDE.read_bytes()}
    hub.add("owner/blind-GGUF", files)
    hub.add("owner/seeing-GGUF", {**files, "mmproj-guide-F16.gguf": eyes})

    blind = plan_memory(workspace, "hf.co/owner/blind-GGUF:Q8_0", ANYTHING)
    seeing = plan_memory(workspace, "hf.co/owner/seeing-GGUF:Q8_0", ANYTHING)

    assert blind.projector_bytes == 0
    assert seeing.projector_bytes > len(eyes)
    assert seeing.plan.total_bytes - blind.plan.total_bytes == seeing.projector_bytes
    fetched = [request.headers.get("range") for request in hub.file_requests]
    assert fetched == ["bytes=0-1048575"] * 3


def test_a_header_that_is_no_header_is_refused(workspace: Workspace) -> None:
    with pytest.raises(IntegrityError):
        plan_memory(workspace, NAME, ANYTHING)


def test_a_long_header_is_fetched_piece_by_piece(workspace: Workspace, hub: FakeHub) -> None:
    from tests.gguf.builder import STRING, U32, array, header, pair, tensor

    pairs = [
        pair("general.architecture", STRING, "llama"),
        pair("llama.block_count", U32, 1),
        pair("llama.embedding_length", U32, 8),
        array("tokenizer.ggml.tokens", STRING, ["x" * 100] * 20_000),
    ]
    content = header(pairs, [tensor("token_embd.weight", [8, 20_000])])
    hub.add(REPO, {"model-Q8_0.gguf": content + bytes(700_000)})

    found = plan_memory(workspace, f"hf.co/{REPO}:Q8_0", ANYTHING)

    assert found.shape.num_vocab == 20_000
    ranges = [request.headers.get("range") for request in hub.file_requests]
    assert ranges == ["bytes=0-1048575", "bytes=1048576-8388607"]


def test_what_is_here_is_planned_as_its_recipe_says(workspace: Workspace) -> None:
    found = plan_memory(workspace, "guide", MemoryQuery(num_ctx=512, num_parallel=2))

    assert found.is_here
    assert (found.plan.num_ctx, found.plan.setup.num_slots) == (512, 2)


def test_an_unknown_name_is_not_found(workspace: Workspace) -> None:
    with pytest.raises(ModelNotFoundError, match="nosuch"):
        plan_memory(workspace, "nosuch", ANYTHING)


def test_a_plan_walks_no_vocabulary_that_the_index_knows(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.models.find_model("guide")
    walked: list[int] = []
    skip_strings = Reader.skip_strings

    def counted(reader: Reader, count: int) -> None:
        walked.append(count)
        skip_strings(reader, count)

    monkeypatch.setattr(Reader, "skip_strings", counted)
    monkeypatch.setattr(reading, "_shape_of", reading._shape_of.__wrapped__)  # nothing is cached

    found = plan_memory(workspace, "guide", ANYTHING)

    assert found.shape.num_layers
    assert all(count < MIN_NOTED_ARRAY for count in walked)
