"""The draft model of a load: of the request, the server's flag, the recipe, or the catalog."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from localrun.errors import LocalrunError, ModelNotFoundError, UsageError
from localrun.registry.catalog import load_catalog
from localrun.remote.model import RemoteModel, remote_address
from localrun.services.capabilities import check_can_answer
from localrun.services.drafting.chooser import DraftChooser
from localrun.services.runner_models import runner_model
from localrun.services.stored_model import ModelDetails, StoredModel
from localrun.settings import load_settings
from localrun.store.store import embedded_models
from tests.engine.tiny import dflash, eagle3, encoder, full_attention, sliding_window

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localrun.supervisor.draft_choice import DraftChoice
    from localrun.supervisor.model import RunnerModel

GUIDE = embedded_models()["guide:latest"]
DETAILS = ModelDetails(
    format="gguf",
    family="qwen3",
    parameter_size="8B",
    quantization_level="Q8_0",
    context_length=2048,
    capabilities=("completion",),
)
REMOTE = RemoteModel(addresses=(remote_address("http://127.0.0.1:9", "m"),))
SIZES = {"qwen3:8b": 5_000_000_000, "qwen3:0.6b": 640_000_000}


@dataclass
class Stored:
    """The models on a machine, as `Models` finds them."""

    folder: Path
    tiny: Path
    models: dict[str, StoredModel] = field(default_factory=dict)

    def add(self, name: str, **changes: object) -> StoredModel:
        path = self.folder / f"{len(self.models)}.gguf"
        path.hardlink_to(self.tiny)
        model = StoredModel(
            name=name,
            digest=f"sha256:{name}",
            size_bytes=SIZES.get(name, 10),
            modified=datetime.now(UTC),
            details=DETAILS,
            shards=(path,),
            chat_template=None,
        )
        self.models[name] = replace(model, **changes)  # type: ignore[arg-type]
        return self.models[name]

    def find(self, name: str) -> StoredModel:
        if name not in self.models:
            raise ModelNotFoundError(f"no {name}")
        return self.models[name]

    def chooser(
        self, variable: str | None = None, flag: str | None = None, catalog: Path | None = None
    ) -> DraftChooser:
        environ = {} if variable is None else {"LOCALRUN_DRAFT": variable}
        settings = load_settings(environ, {"LOCALRUN_DRAFT": flag})
        extra = () if catalog is None else (catalog,)
        return DraftChooser(self.find, lambda: load_catalog(extra), settings)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    full_attention(path, GUIDE)
    return path


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("windowed") / "window.gguf"
    sliding_window(path, GUIDE)
    return path


@pytest.fixture
def stored(tmp_path: Path, tiny: Path) -> Stored:
    found = Stored(tmp_path, tiny)
    found.add("qwen3:8b")
    found.add("qwen3:0.6b")
    return found


def order(stored: Stored, name: str = "qwen3:8b") -> RunnerModel:
    return runner_model(stored.models[name])


def test_the_draft_model_that_the_catalog_names_is_found_in_the_store(stored: Stored) -> None:
    choice = stored.chooser().choose(order(stored))

    assert (choice.name, choice.source) == ("qwen3:0.6b", "catalog")
    assert choice.paths == stored.models["qwen3:0.6b"].shards


def test_a_draft_model_that_was_removed_is_offered(stored: Stored) -> None:
    del stored.models["qwen3:0.6b"]

    choice = stored.chooser().choose(order(stored))

    assert (choice.name, choice.paths) == ("qwen3:0.6b", ())
    assert choice.reason.startswith("localrun pull qwen3:0.6b")


def test_a_draft_model_that_is_pulled_later_counts_from_the_next_load_on(stored: Stored) -> None:
    small, chooser = stored.models.pop("qwen3:0.6b"), stored.chooser()
    before = chooser.choose(order(stored))

    stored.models["qwen3:0.6b"] = small

    assert not before.paths
    assert chooser.choose(order(stored)).paths == small.shards


@pytest.mark.parametrize(
    "origin", ["qwen3:8b", "hf.co/Qwen/Qwen3-8B-GGUF:Q4_K_M", "registry.ollama.ai/library/qwen3:8b"]
)
def test_a_model_that_was_made_from_a_known_one_has_its_draft_model(
    stored: Stored, origin: str
) -> None:
    stored.add("bot:latest", origin=origin, size_bytes=SIZES["qwen3:8b"])
    stored.add("helper:latest", origin="bot:latest", size_bytes=SIZES["qwen3:8b"])

    for name in ("bot:latest", "helper:latest"):
        assert stored.chooser().choose(order(stored, name)).name == "qwen3:0.6b"


def test_a_quantization_behind_the_tag_is_the_same_size(stored: Stored) -> None:
    stored.add("qwen3:8b-q8_0", size_bytes=9_000_000_000)

    assert stored.chooser().choose(order(stored, "qwen3:8b-q8_0")).name == "qwen3:0.6b"


def test_the_draft_model_is_known_by_its_repository_too(stored: Stored) -> None:
    name = "hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0"
    stored.models[name] = replace(stored.models.pop("qwen3:0.6b"), name=name)

    assert stored.chooser().choose(order(stored)).name == name


@pytest.mark.parametrize("name", ["qwen3:0.6b", "mine:latest"])
def test_a_model_that_is_small_or_unknown_has_no_draft_model(stored: Stored, name: str) -> None:
    stored.add("mine:latest", size_bytes=SIZES["qwen3:8b"])

    choice = stored.chooser().choose(order(stored, name))

    assert (choice.name, choice.paths, choice.reason) == ("", (), "")


def test_the_catalog_is_not_read_for_a_tiny_model(stored: Stored) -> None:
    stored.add("tiny:latest", size_bytes=6_000_000)
    chooser = DraftChooser(stored.find, lambda: pytest.fail("read"), load_settings({}, {}))

    assert chooser.choose(order(stored, "tiny:latest")).name == ""


def test_a_model_that_is_hardly_larger_has_no_draft_model(stored: Stored) -> None:
    stored.add("qwen3:1.7b", size_bytes=1_830_000_000)

    assert stored.chooser().choose(order(stored, "qwen3:1.7b")).name == ""


def test_a_found_draft_model_with_other_tokens_is_refused(stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(GUIDE.read_bytes().replace(b"download", b"DOWNLOAD", 1))
    stored.models["qwen3:0.6b"] = replace(stored.models["qwen3:0.6b"], shards=(path,))

    choice = stored.chooser().choose(order(stored))

    assert choice.paths == ()
    assert "its tokens spell other text" in choice.reason


def test_a_damaged_draft_model_leaves_the_model_without(stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(b"GGUF")
    stored.models["qwen3:0.6b"] = replace(stored.models["qwen3:0.6b"], shards=(path,))

    choice = stored.chooser().choose(order(stored))

    assert choice.paths == ()
    assert "not a readable GGUF file" in choice.reason


def names(chooser: DraftChooser, model: RunnerModel) -> tuple[str, str]:
    choice = chooser.choose(model)
    return (choice.name if choice.paths else "", choice.source)


def test_the_request_precedes_the_flag_the_recipe_and_the_variable(stored: Stored) -> None:
    recipe_draft = stored.add("own:latest").shards
    model = replace(order(stored), draft=recipe_draft)
    flagged = stored.chooser(flag="qwen3:0.6b")
    requested = flagged.with_draft(model, "own:latest")
    off = flagged.with_draft(model, "none")
    automatic = flagged.with_draft(model, "auto")

    assert flagged.with_draft(model, None).draft == ()
    assert stored.chooser().with_draft(model, None) == model
    assert names(flagged, requested) == ("own:latest", "request")
    assert names(flagged, off) == ("", "request")
    assert names(flagged, model) == ("qwen3:0.6b", "default")
    assert names(flagged, automatic) == ("DRAFT of qwen3:8b", "recipe")
    assert names(stored.chooser(variable="qwen3:0.6b"), model) == ("DRAFT of qwen3:8b", "recipe")
    assert names(stored.chooser(variable="own:latest"), order(stored)) == ("own:latest", "default")
    assert names(stored.chooser(), order(stored)) == ("qwen3:0.6b", "catalog")


def test_none_at_the_server_switches_off_what_nobody_named(stored: Stored) -> None:
    recipe = replace(order(stored), draft=stored.add("own:latest").shards)
    by_variable, by_flag = stored.chooser(variable="None"), stored.chooser(flag="none")

    assert by_variable.choose(order(stored)).reason == "switched off"
    assert names(by_variable, recipe) == ("DRAFT of qwen3:8b", "recipe")
    assert by_flag.choose(recipe).reason == "switched off"
    assert names(by_flag, by_flag.with_draft(order(stored), "auto")) == ("qwen3:0.6b", "catalog")


def test_a_setting_that_names_no_model_is_a_reason_and_no_error(stored: Stored) -> None:
    choice = stored.chooser(variable="nobody").choose(order(stored))

    assert (choice.name, choice.paths, choice.reason) == ("nobody", (), "no nobody")


def test_the_same_draft_model_by_recipe_and_request_is_one_load(stored: Stored) -> None:
    small = stored.models["qwen3:0.6b"]
    recipe = replace(order(stored), draft=small.shards)
    chooser = stored.chooser()

    assert chooser.with_draft(recipe, "qwen3:0.6b") == recipe
    assert chooser.with_draft(recipe, "none") != recipe
    assert chooser.with_draft(recipe, "auto") is recipe


def test_the_origin_and_name_of_a_draft_model_do_not_divide_runners(stored: Stored) -> None:
    model = order(stored)

    assert replace(model, origin="elsewhere", draft_name="x").shared == model.shared


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nobody", "no nobody"),
        ("qwen3:8b", "it is the model itself"),
        ("qwen3:0.6b+pirate", "takes no adapters"),
        ("vectors:latest", "is an embedding model"),
        ("far:latest", "is remote"),
        ("window:latest", "the draft model has sliding windows"),
        ("gone:latest", "cannot draft tokens: No such file"),
    ],
)
def test_a_request_that_names_what_cannot_draft_is_refused(
    stored: Stored, tmp_path: Path, windowed: Path, name: str, text: str
) -> None:
    stored.add("vectors:latest", details=replace(DETAILS, capabilities=("embedding",)))
    stored.add("far:latest", remote=REMOTE, shards=())
    stored.add("window:latest", shards=(windowed,))
    stored.add("gone:latest", shards=(tmp_path / "gone.gguf",))

    with pytest.raises(LocalrunError) as caught:
        stored.chooser().with_draft(order(stored), name)

    assert text in caught.value.message


def test_a_model_that_cannot_take_tokens_back_takes_no_draft_model(
    stored: Stored, windowed: Path
) -> None:
    model = replace(order(stored), shards=(windowed,))

    with pytest.raises(UsageError, match="the model has sliding windows"):
        stored.chooser().with_draft(model, "qwen3:0.6b")


def refused(choice: DraftChoice) -> str:
    assert choice.paths == ()
    return choice.reason


def test_a_draft_model_of_the_recipe_is_checked_as_well(stored: Stored, tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(b"GGUF")
    chooser, model = stored.chooser(), order(stored)

    assert "not a readable GGUF" in refused(
        chooser.choose(replace(model, draft=(tmp_path / "cut.gguf",)))
    )
    assert "the model itself" in refused(chooser.choose(replace(model, draft=model.shards)))


@pytest.mark.parametrize(
    ("family", "make_head", "kind"),
    [("eagle3", eagle3, "an EAGLE-3 head"), ("dflash", dflash, "a DFlash head")],
)
def test_a_draft_head_of_the_model_is_taken(
    stored: Stored, tmp_path: Path, family: str, make_head: Callable[..., None], kind: str
) -> None:
    head = tmp_path / "head.gguf"
    make_head(head, GUIDE, (1, 2, 3))
    details = replace(DETAILS, family=family, capabilities=())
    stored.add("head:latest", shards=(head,), details=details)
    chooser = stored.chooser()

    requested = chooser.with_draft(order(stored), "head:latest")

    assert names(chooser, requested) == ("head:latest", "request")
    assert chooser.choose(replace(order(stored), draft=(head,))).paths == (head,)
    with pytest.raises(UsageError, match=f"is {kind}, which drafts tokens for another"):
        check_can_answer(stored.models["head:latest"])


def test_a_model_that_generates_no_text_is_refused(stored: Stored, tmp_path: Path) -> None:
    embedder, bidirectional = tmp_path / "embedder.gguf", tmp_path / "bidirectional.gguf"
    encoder(embedder, GUIDE)
    full_attention(bidirectional, GUIDE, is_causal=False)

    reasons = [
        refused(stored.chooser().choose(replace(order(stored), draft=(path,))))
        for path in (embedder, bidirectional)
    ]

    assert reasons == ["it is an embedding model", "its tokens attend to later ones"]


def test_a_draft_head_for_another_model_is_refused(stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "far.gguf"
    eagle3(path, GUIDE, (1, 2, 9))

    reason = refused(stored.chooser().choose(replace(order(stored), draft=(path,))))

    assert reason == "it is an EAGLE-3 head for a model of more than 4 layers"
