"""Make models from recipes, and recipes from models."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localrun.engine.quantizing.choices import QuantizeOptions
from localrun.errors import IntegrityError, LocalrunError, NotFoundError, UsageError
from localrun.modelfile.parse import parse_modelfile
from localrun.modelfile.write import write_modelfile
from localrun.names.parse import parse_name
from localrun.services.creating.create import Created, CreateOptions, create_model
from localrun.services.creating.remake import recipe_text
from localrun.services.naming import move_model, remove_model
from localrun.services.recipes import StoredRecipe
from localrun.services.show import describe_model
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from localrun.store.adopt import AdoptMode
from localrun.store.garbage import collect_garbage
from localrun.store.manifest import Descriptor, Manifest, Role
from localrun.store.store import embedded_models
from tests.services.making import Told, entry_of, gguf
from tests.services.recipes import recipes

if TYPE_CHECKING:
    from localrun.modelfile.recipe import Recipe
    from localrun.store.store import Entry

ADAPTERS = Path(__file__).parents[3] / "modelfiles" / "adapters"
PIRATE, PEFT = ADAPTERS / "pirate.gguf", ADAPTERS / "pirate"
REQUANTIZING = QuantizeOptions(allows_quantized=True)
GUIDE = embedded_models()["guide:latest"]
EXAMPLES = int(os.environ.get("LOCALRUN_PROPERTY_EXAMPLES", "60"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    known = Settings(log_dir=tmp_path / "log", models_dir=tmp_path / "store", is_offline=True)
    return Workspace(known, {}, home=tmp_path / "home")


def create(
    workspace: Workspace,
    text: str,
    name: str = "made",
    folder: Path | None = None,
    told: Told | None = None,
    **options: object,
) -> Created:
    return create_model(
        workspace,
        parse_name(name),
        parse_modelfile(text.encode()),
        folder=folder or Path("/"),
        options=CreateOptions(**options),  # type: ignore[arg-type]
        report=told,
    )


def recipe_of(workspace: Workspace, name: str = "made") -> StoredRecipe:
    return workspace.models.find_model(name).recipe


def test_what_a_recipe_says_is_what_the_model_says(workspace: Workspace) -> None:
    create(
        workspace,
        'FROM guide\nSYSTEM Be short.\nPARAMETER stop "a"\nPARAMETER temperature 0.5\n'
        "PARAMETER stop b\nMESSAGE user hi\nMESSAGE assistant hello\nLICENSE free\n"
        "TEMPLATE {{ messages[0].content }}",
    )

    model = workspace.models.find_model("made")

    assert model.recipe == StoredRecipe(
        system="Be short.",
        template="{{ messages[0].content }}",
        parameters=(("stop", "a"), ("temperature", 0.5), ("stop", "b")),
        messages=(("user", "hi"), ("assistant", "hello")),
        licenses=("free",),
    )
    assert model.recipe.stop == ("a", "b")
    assert model.chat_template == "{{ messages[0].content }}"
    assert model.origin == "guide:latest"


def test_the_weights_are_not_copied(workspace: Workspace) -> None:
    create(workspace, "FROM guide\nSYSTEM x")

    (shard,) = workspace.models.find_model("made").shards

    assert shard.samefile(GUIDE) or shard.stat().st_dev != GUIDE.stat().st_dev


def test_a_model_of_a_model_keeps_what_it_does_not_set(workspace: Workspace) -> None:
    create(workspace, "FROM guide\nSYSTEM a\nPARAMETER seed 1\nPARAMETER stop x\nLICENSE l", "base")

    create(workspace, "FROM base\nPARAMETER stop y\nPARAMETER top_k 3\nMESSAGE user hi")

    assert recipe_of(workspace) == StoredRecipe(
        system="a",
        parameters=(("seed", 1), ("stop", "y"), ("top_k", 3)),
        messages=(("user", "hi"),),
        licenses=("l",),
    )


def test_a_recipe_that_changes_nothing_gives_the_base_itself(workspace: Workspace) -> None:
    base = create(workspace, "FROM guide\nSYSTEM a", "base")

    assert create(workspace, "FROM base\nSYSTEM a").manifest == base.manifest


@pytest.mark.parametrize(
    ("parameters", "notes"),
    [
        (
            "PARAMETER num_ctx 9999\n",
            ["num_ctx will be cut from 9999 to the model's own 2048 tokens"],
        ),
        ("PARAMETER num_ctx 2048\n", []),
        ("PARAMETER num_ctx 4096\nPARAMETER rope_scaling yarn\n", []),
    ],
)
def test_a_context_beyond_the_models_own_is_reported(
    workspace: Workspace, parameters: str, notes: list[str]
) -> None:
    told = Told()

    create(workspace, f"FROM guide\n{parameters}", told=told)

    assert told.notes == notes


def test_the_embedded_model_is_hashed_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = create(workspace, "FROM guide\nSYSTEM a")
    monkeypatch.setattr("localrun.store.adopt.file_digest", None)
    monkeypatch.setattr("localrun.services.index.headers.file_digest", None)
    second = create(workspace, "FROM guide\nSYSTEM b", "other")

    assert second.manifest != first.manifest
    made, other = workspace.store.entries()
    for role in (Role.WEIGHTS, Role.PROJECTOR):
        assert len(made.manifest.with_role(role)) == 1
        assert made.manifest.with_role(role) == other.manifest.with_role(role)


def test_the_same_recipe_twice_changes_nothing(workspace: Workspace) -> None:
    first = create(workspace, "FROM guide\nSYSTEM a")
    second = create(workspace, "FROM guide\nSYSTEM a")

    assert (first.is_changed, second.is_changed) == (True, False)
    assert first.manifest == second.manifest


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("FROM ./nothing.gguf", NotFoundError, "no such file"),
        ("FROM guide\nFROM guide", UsageError, "second model"),
        ("FROM guide\nADAPTER ./nothing.gguf", NotFoundError, "no such file"),
        (f"FROM guide\nADAPTER {GUIDE}", IntegrityError, "a model, not an adapter"),
        (f"FROM {PIRATE}", LocalrunError, "adapter"),
        ("FROM guide\nTEMPLATE {% for %}", UsageError, "template"),
        ("FROM guide\nTEMPLATE {{ .Nonsense | unknown }}", UsageError, "unknown"),
        (f"FROM sha256:{'0' * 64}", LocalrunError, "0" * 64),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_is_named(
    workspace: Workspace, text: str, error: type[LocalrunError], message: str
) -> None:
    with pytest.raises(error, match=message):
        create(workspace, text)

    assert workspace.store.entries() == []


def test_a_failed_recipe_leaves_the_former_model(workspace: Workspace) -> None:
    before = create(workspace, "FROM guide\nSYSTEM a")

    with pytest.raises(NotFoundError):
        create(workspace, "FROM guide\nADAPTER ./nothing.gguf")

    assert entry_of(workspace, "made").ref.manifest == before.manifest


@pytest.mark.parametrize("adopt_mode", AdoptMode)
def test_a_file_comes_in_as_the_user_wants(
    workspace: Workspace, tmp_path: Path, adopt_mode: AdoptMode
) -> None:
    file, content = tmp_path / "own.gguf", gguf(3)
    file.write_bytes(content)

    create(workspace, "FROM ./own.gguf", folder=tmp_path, adopt_mode=adopt_mode)

    (shard,) = workspace.models.find_model("made").shards
    assert shard.read_bytes() == content
    assert file.exists() is (adopt_mode is not AdoptMode.MOVE)
    if adopt_mode is not AdoptMode.MOVE:
        assert file.read_bytes() == content
    if adopt_mode is AdoptMode.LINK:
        assert file.samefile(shard)


def test_a_move_that_fails_takes_nothing_away(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    file.write_bytes(gguf(3))

    with pytest.raises(NotFoundError):
        create(
            workspace,
            "FROM ./own.gguf\nADAPTER ./nothing.gguf",
            folder=tmp_path,
            adopt_mode=AdoptMode.MOVE,
        )

    assert file.exists()


def test_shards_stay_apart_and_must_be_complete(workspace: Workspace, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"m-{number:05}-of-00002.gguf").write_bytes(gguf(number))
    create(workspace, "FROM ./m-00001-of-00002.gguf", folder=tmp_path)

    assert len(workspace.models.find_model("made").shards) == 2
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    with pytest.raises(IntegrityError, match="missing"):
        create(workspace, "FROM ./m-00001-of-00002.gguf", folder=tmp_path)


def test_a_folder_brings_its_projector(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.gguf").write_bytes(gguf(1))
    (folder / "vision.gguf").write_bytes(gguf(2, architecture="clip"))

    create(workspace, "FROM ./model", folder=tmp_path)

    assert describe_model(workspace, "made").has_projector


@pytest.mark.parametrize("adapter", [PIRATE, PEFT])
def test_both_forms_of_an_adapter_come_in_with_their_scale(
    workspace: Workspace, adapter: Path
) -> None:
    create(workspace, f"FROM guide\nADAPTER {adapter} 0.5\nADAPTER {adapter}")

    model = workspace.models.find_model("made")

    assert [scale for _, scale in model.adapters] == [0.5, 1.0]
    assert len(entry_of(workspace, "made").manifest.with_role(Role.ADAPTER)) == 2


def test_a_draft_model_comes_along(workspace: Workspace) -> None:
    create(workspace, "FROM guide\nDRAFT guide\nPARAMETER draft_num_predict 7")

    model = workspace.models.find_model("made")

    assert [path.stat().st_size for path in model.draft] == [model.shards[0].stat().st_size]


@pytest.mark.parametrize(
    ("draft", "text"),
    [
        ("./mmproj.gguf", "DRAFT ./mmproj.gguf is a projector, and cannot draft tokens"),
        (str(PIRATE), "pirate.gguf is a file of the role adapter, not a model"),
        ("./nothing.gguf", "DRAFT ./nothing.gguf: no such file"),
        ("./cut.gguf", "cut.gguf is not a readable GGUF file"),
        ("remote+http://127.0.0.1:9/v1", "is a remote model, and cannot draft tokens"),
    ],
)
def test_a_file_that_is_no_draft_model_is_refused_by_name(
    workspace: Workspace, tmp_path: Path, draft: str, text: str
) -> None:
    projector = embedded_models()["guide:latest"].with_name("mmproj-guide.gguf")
    (tmp_path / "mmproj.gguf").write_bytes(projector.read_bytes())
    (tmp_path / "cut.gguf").write_bytes(projector.read_bytes()[:100])

    with pytest.raises(LocalrunError, match=re.escape(text)):
        create(workspace, f"FROM guide\nDRAFT {draft}", folder=tmp_path)


def test_an_adapter_of_another_model_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "other.gguf").write_bytes(gguf(1))

    with pytest.raises(LocalrunError, match="qwen3"):
        create(workspace, f"FROM ./other.gguf\nADAPTER {PIRATE}", folder=tmp_path)


def test_adapters_are_put_on_by_name(workspace: Workspace) -> None:
    create(workspace, f"FROM guide\nADAPTER {PIRATE} 0.5", "pirate")

    model = workspace.models.find_model("guide+pirate@0.8")

    assert model.name == "guide:latest+pirate@0.8"
    assert [scale for _, scale in model.adapters] == pytest.approx([0.4])
    assert workspace.models.find_model(f"guide+{PIRATE}").adapters == ((PIRATE, 1.0),)
    with pytest.raises(NotFoundError, match="has no adapter"):
        workspace.models.find_model("guide+guide")


def test_quantizing_says_what_came_out(workspace: Workspace) -> None:
    told = Told()

    made = create(
        workspace, "FROM guide", quantize="q4_k_m", quantize_options=REQUANTIZING, told=told
    )

    model = workspace.models.find_model("made")
    assert model.details.quantization_level == "Q4_K_M"
    assert made.weights_bytes == model.shards[0].stat().st_size < GUIDE.stat().st_size
    assert made.bits_per_weight is not None
    assert 4 < made.bits_per_weight < 6
    assert told.ended["quantizing to Q4_K_M"][0] == told.ended["quantizing to Q4_K_M"][1]


@pytest.mark.parametrize(
    ("kind", "message"), [("Q4_K_M", "quantized|Q8_0 already"), ("Q9", "not a quantization")]
)
def test_quantizing_twice_must_be_asked_for(workspace: Workspace, kind: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create(workspace, "FROM guide", quantize=kind)


def test_removing_one_leaves_what_the_other_shares(workspace: Workspace) -> None:
    create(workspace, "FROM guide\nSYSTEM a", "one")
    create(workspace, "FROM guide\nSYSTEM b", "two")

    remove_model(workspace, parse_name("one"))

    assert workspace.models.find_model("two").shards[0].read_bytes() == GUIDE.read_bytes()
    remove_model(workspace, parse_name("two"))
    assert collect_garbage(workspace.store).blobs == ()


def test_a_moved_model_has_its_new_name_alone(workspace: Workspace) -> None:
    made = create(workspace, "FROM guide\nSYSTEM a", "one")

    assert move_model(workspace, parse_name("one"), parse_name("two")) == "two:latest"
    assert [entry.ref.name for entry in workspace.store.entries()] == ["two:latest"]
    assert entry_of(workspace, "two").ref.manifest == made.manifest
    with pytest.raises(UsageError, match="cannot be renamed"):
        move_model(workspace, parse_name("guide"), parse_name("three"))


@pytest.mark.parametrize(
    "text",
    [
        "FROM guide\nSYSTEM a",
        f"FROM guide\nADAPTER {PIRATE} 0.5\nPARAMETER stop x\nPARAMETER stop y",
        "FROM guide\nTEMPLATE {{ .Prompt }}",
        "FROM guide",
    ],
)
def test_what_show_prints_makes_the_same_model(workspace: Workspace, text: str) -> None:
    made = create(workspace, text)
    printed = recipe_text(workspace, "made")

    assert create(workspace, printed, "again").manifest == made.manifest
    assert printed.splitlines()[1].startswith("FROM guide")


def test_what_show_prints_holds_when_the_base_has_changed(workspace: Workspace) -> None:
    create(workspace, "FROM guide\nSYSTEM a", "base")
    made = create(workspace, "FROM base\nPARAMETER seed 1")
    create(workspace, "FROM guide\nSYSTEM a\nLICENSE new", "base")

    printed = recipe_text(workspace, "made")

    assert "FROM sha256:" in printed
    assert create(workspace, printed, "again").manifest == made.manifest


def test_what_show_prints_of_ollamas_model_makes_the_same(workspace: Workspace) -> None:
    entry = ollama_model(workspace)

    printed = recipe_text(workspace, "theirs")

    assert "SYSTEM Be short." in printed
    assert "TEMPLATE {{ .Prompt }}" in printed
    assert 'PARAMETER stop "a"' in printed or "PARAMETER stop a" in printed
    assert create(workspace, printed, "again").manifest == entry.ref.manifest


def ollama_model(workspace: Workspace) -> Entry:
    """Make a model as Ollama's registry has it."""
    create(workspace, "FROM guide", "base")
    base = entry_of(workspace, "base").manifest
    texts = {
        "template": b"{{ .Prompt }}",
        "system": b"Be short.",
        "params": b'{"stop": ["a", "b"], "temperature": 0.5}',
        "messages": b'[{"role": "user", "content": "hi"}]',
    }
    with workspace.store.lease() as lease:
        layers = [
            Descriptor(
                media_type=f"application/vnd.ollama.image.{kind}",
                digest=workspace.store.blobs.put(content, lease),
                size_bytes=len(content),
            )
            for kind, content in texts.items()
        ]
        manifest = Manifest(config=base.config, layers=(*base.layers, *layers))
        workspace.store.tag(parse_name("theirs"), manifest.to_bytes(), lease)
    return entry_of(workspace, "theirs")


@given(data=st.data())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_recipe_survives_show_and_create(workspace: Workspace, data: st.DataObject) -> None:
    recipe: Recipe = data.draw(recipes("guide", str(PIRATE)))
    text = write_modelfile(recipe)
    assert parse_modelfile(text.encode()) == recipe
    made = create(workspace, text)

    assert create(workspace, recipe_text(workspace, "made"), "again").manifest == made.manifest
