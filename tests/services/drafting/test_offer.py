"""After a pull, the draft model that the catalog knows is named, if there is memory for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.errors import ModelNotFoundError
from localrun.names.parse import parse_name
from localrun.services.drafting.known import MIN_BYTES
from localrun.services.drafting.offer import DraftOffer, offer_draft
from localrun.services.machine.memory_plan import MemoryQuery, plan_memory
from localrun.services.pulling.pull import pull_model
from localrun.services.workspace import Workspace
from localrun.store.store import embedded_models
from localrun.supervisor.devices import only_processor
from localrun.supervisor.draft_choice import DraftChoice
from tests.engine.tiny import full_attention, sliding_window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localrun.hardware.device import Device
    from localrun.services.machine.memory_plan import MemoryPlan
    from tests.fakes.hub import FakeHub

GUIDE = embedded_models()["guide:latest"]
CATALOG = """
format_version = 1
[house]
about = "House: our own"
licence = "MIT"
default = "4b"
draft = "house:1b"
[[house.sizes]]
tag = "4b"
huggingface = "owner/large-GGUF"
quantization = "Q8_0"
size = "40 MB"
[[house.sizes]]
tag = "1b"
huggingface = "owner/small-GGUF"
quantization = "Q8_0"
size = "2 MB"
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("small") / "tiny.gguf"
    full_attention(path, GUIDE)
    return path.read_bytes()


@pytest.fixture
def empty_house(workspace: Workspace, hub: FakeHub, tmp_path: Path, small: bytes) -> Workspace:
    """Return a workspace without models, whose hub has house:4b and house:1b."""
    hub.add("owner/large-GGUF", {"large-Q8_0.gguf": GUIDE.read_bytes() + bytes(MIN_BYTES)})
    hub.add("owner/small-GGUF", {"small-Q8_0.gguf": small})
    (tmp_path / "catalog.toml").write_text(CATALOG)
    settings = replace(workspace.settings, catalogs=(tmp_path / "catalog.toml",))
    return Workspace(settings, workspace.environ, home=workspace.home)


@pytest.fixture
def house(empty_house: Workspace) -> Workspace:
    """Return a workspace with house:4b in its store, whose hub has house:1b."""
    pull_model(empty_house, parse_name("house:4b"))
    return empty_house


def with_free(size: int) -> Sequence[Device]:
    return [replace(device, free_bytes=size) for device in only_processor()]


def test_a_known_draft_model_is_named_and_not_pulled(house: Workspace) -> None:
    offer = offer_draft(house, "house:4b", only_processor)

    assert offer == DraftOffer("house:1b", 2_000_000, is_here=False)
    assert [model.name for model in house.models.list_models() if "house" in model.name] == [
        "house:4b"
    ]


def test_a_draft_model_that_is_here_is_said_to_be_used(house: Workspace) -> None:
    pull_model(house, parse_name("house:1b"))

    assert offer_draft(house, "house:4b", only_processor) == DraftOffer("house:1b", 0, is_here=True)
    assert offer_draft(house, "house:1b", only_processor) is None


def test_without_memory_to_spare_nothing_is_offered(house: Workspace) -> None:
    plan_bytes = 74_000_000  # of the model; the reserve of the machine comes on top

    assert offer_draft(house, "house:4b", lambda: with_free(plan_bytes)) is None


def test_what_the_settings_or_the_recipe_choose_is_left_alone(
    house: Workspace, tmp_path: Path
) -> None:
    off = Workspace(replace(house.settings, draft="none"), house.environ, home=tmp_path)

    assert offer_draft(off, "house:4b", only_processor) is None


def test_a_model_with_sliding_windows_gets_no_offer(
    house: Workspace, hub: FakeHub, tmp_path: Path
) -> None:
    sliding_window(tmp_path / "window.gguf", GUIDE)
    padded = (tmp_path / "window.gguf").read_bytes() + bytes(MIN_BYTES)
    hub.add("owner/large-GGUF", {"large-Q8_0.gguf": padded})
    pull_model(house, parse_name("house:4b"))

    assert offer_draft(house, "house:4b", only_processor) is None


def test_a_model_that_nobody_knows_gets_no_offer_and_no_look_at_the_devices(
    house: Workspace,
) -> None:
    def looked() -> Sequence[Device]:
        raise AssertionError

    assert offer_draft(house, "guide", looked) is None
    assert offer_draft(house, "nobody", looked) is None


def plan_of(house: Workspace, draft: str | None = None) -> MemoryPlan:
    return plan_memory(house, "house:4b", MemoryQuery(draft=draft))


def test_the_plan_of_a_model_that_is_elsewhere_names_its_draft_model(
    empty_house: Workspace,
) -> None:
    before = plan_of(empty_house)
    pull_model(empty_house, parse_name("house:1b"))
    after = plan_of(empty_house)

    assert (before.is_here, after.is_here) == (False, False)
    assert before.draft == DraftChoice(
        name="house:1b",
        source="catalog",
        reason="localrun pull house:1b   gets it: it drafts tokens",
    )
    assert after.draft.name == "house:1b"
    assert after.draft.size_bytes == after.plan.total_bytes - before.plan.total_bytes > 1_000_000


def test_the_plan_of_a_model_that_is_elsewhere_follows_the_users_choice(
    empty_house: Workspace,
) -> None:
    pull_model(empty_house, parse_name("house:1b"))
    off = Workspace(
        replace(empty_house.settings, draft="none"), empty_house.environ, home=empty_house.home
    )

    assert plan_of(empty_house, "none").draft == DraftChoice(
        source="request", reason="switched off"
    )
    assert plan_of(off).draft == DraftChoice(reason="switched off")
    assert plan_of(off, "auto").draft.paths == plan_of(empty_house).draft.paths
    assert plan_of(empty_house, "house:1b").draft.source == "request"
    with pytest.raises(ModelNotFoundError):
        plan_of(empty_house, "nobody")


def test_a_model_elsewhere_with_sliding_windows_gets_no_draft_model(
    empty_house: Workspace, hub: FakeHub, tmp_path: Path
) -> None:
    sliding_window(tmp_path / "window.gguf", GUIDE)
    padded = (tmp_path / "window.gguf").read_bytes() + bytes(MIN_BYTES)
    hub.add("owner/large-GGUF", {"large-Q8_0.gguf": padded})

    assert "sliding windows" in plan_of(empty_house).draft.reason
