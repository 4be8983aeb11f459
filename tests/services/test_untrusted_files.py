"""Files that are cut off, and folders that lead elsewhere: refused before they are taken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError, UsageError
from localrun.modelfile.parse import parse_modelfile
from localrun.modelfile.source import folder_reader
from localrun.names.parse import parse_name
from localrun.services.creating.create import create_model
from localrun.services.importing import import_path
from localrun.services.progress import SilentReport
from localrun.services.pulling.pull import PullOptions, pull_model
from localrun.store.manifest import DOCKER_CONFIG, MEDIA_TYPES, OCI_MANIFEST, Role
from tests.fakes.registry import FakeRegistry
from tests.fakes.web import serving
from tests.gguf import builder
from tests.services.making import digest, gguf, names_in, pull

if TYPE_CHECKING:
    from localrun.services.workspace import Workspace
    from tests.fakes.hub import FakeHub

PIRATE = Path(__file__).parents[2] / "modelfiles" / "adapters" / "pirate.gguf"
HEAD = builder.header(
    [builder.pair("general.architecture", builder.STRING, "llama")],
    [builder.tensor("blk.0.ffn_up.weight", [10, 100])],
)
WHOLE = HEAD.ljust(-(-len(HEAD) // 32) * 32, b"\0") + bytes(4000)
CUT = WHOLE[:-1]
REASON = rf"the file is cut off: tensor blk.0.ffn_up.weight ends at byte {len(WHOLE)}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for a recipe, with a secret beside it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "model.gguf").write_bytes(gguf())
    (tmp_path / "outside" / "secret").write_text("SYSTEM secret")
    made = tmp_path / "recipe"
    made.mkdir()
    return made


def create(workspace: Workspace, folder: Path, text: str) -> None:
    read = folder_reader(folder)
    recipe = parse_modelfile(text.encode(), read=read)
    create_model(workspace, parse_name("made"), recipe, folder=folder)


@pytest.mark.parametrize("text", ["FROM ./cut.gguf", "FROM ."])
def test_create_refuses_a_file_that_is_cut_off(
    workspace: Workspace, folder: Path, text: str
) -> None:
    (folder / "cut.gguf").write_bytes(CUT)

    with pytest.raises(IntegrityError, match=REASON):
        create(workspace, folder, text)

    assert names_in(workspace) == []


def test_create_refuses_an_adapter_that_is_cut_off(workspace: Workspace, folder: Path) -> None:
    (folder / "cut.gguf").write_bytes(PIRATE.read_bytes()[:-4096])

    with pytest.raises(IntegrityError, match=r"cut\.gguf: the file is cut off"):
        create(workspace, folder, "FROM guide\nADAPTER ./cut.gguf")

    assert names_in(workspace) == []


def test_import_refuses_a_file_that_is_cut_off(workspace: Workspace, folder: Path) -> None:
    (folder / "cut.gguf").write_bytes(CUT)

    with pytest.raises(IntegrityError, match=REASON):
        import_path(workspace, folder / "cut.gguf", parse_name("made"), SilentReport())

    assert names_in(workspace) == []
    assert not list(workspace.store.layout.blobs.glob("*"))


def test_the_same_file_is_taken_when_it_is_whole(workspace: Workspace, folder: Path) -> None:
    (folder / "whole.gguf").write_bytes(WHOLE)

    import_path(workspace, folder / "whole.gguf", parse_name("imported"), SilentReport())
    create(workspace, folder, "FROM ./whole.gguf")

    assert names_in(workspace) == ["imported:latest", "made:latest"]


def test_pull_refuses_a_file_that_was_published_cut_off(workspace: Workspace, hub: FakeHub) -> None:
    hub.add("owner/cut", {"model-Q4_K_M.gguf": CUT})

    with pytest.raises(IntegrityError, match=rf"^model-Q4_K_M.gguf: {REASON}"):
        pull(workspace, "hf.co/owner/cut")

    assert names_in(workspace) == []


def test_pull_refuses_a_registrys_model_that_is_cut_off(workspace: Workspace) -> None:
    fake, config = FakeRegistry(), b"{}"
    for content in (CUT, config):
        fake.blobs["owner/cut", digest(content)] = content
    layers = [
        {"mediaType": media_type, "digest": digest(content), "size": len(content)}
        for media_type, content in ((MEDIA_TYPES[Role.WEIGHTS], CUT), (DOCKER_CONFIG, config))
    ]
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
    manifest |= {"config": layers[1], "layers": layers[:1]}
    fake.add_manifest("owner/cut", "latest", manifest, OCI_MANIFEST)

    with serving(fake) as web:
        ref = parse_name(f"{web.url.removeprefix('http://')}/owner/cut")
        with pytest.raises(IntegrityError, match=REASON):
            pull_model(workspace, ref, PullOptions(is_insecure=True))

    assert names_in(workspace) == []


@pytest.mark.parametrize("name", ["model.gguf", "chat_template.jinja", "LICENSE"])
def test_a_folder_whose_file_is_a_link_elsewhere_is_refused(
    workspace: Workspace, folder: Path, name: str
) -> None:
    (folder / "model.gguf").write_bytes(gguf())
    target = "model.gguf" if name == "model.gguf" else "secret"
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(folder.parent / "outside" / target)

    with pytest.raises(IntegrityError, match=f"{name} is a link that leads out of its folder"):
        create(workspace, folder, "FROM .")

    assert names_in(workspace) == []


def test_links_within_a_folder_are_followed(workspace: Workspace, folder: Path) -> None:
    (folder / "real").write_bytes(gguf())
    (folder / "model.gguf").symlink_to("real")

    create(workspace, folder, "FROM .")

    assert names_in(workspace) == ["made:latest"]


def test_a_snapshot_of_a_hugging_face_cache_may_name_its_blobs(
    workspace: Workspace, folder: Path
) -> None:
    snapshot = folder / "models--owner--name" / "snapshots" / "abc"
    blobs = folder / "models--owner--name" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "0123").write_bytes(gguf())
    (snapshot / "model.gguf").symlink_to(blobs / "0123")

    create(workspace, folder, f"FROM {snapshot}")

    assert names_in(workspace) == ["made:latest"]


def test_the_shards_of_a_file_lie_beside_it_or_beside_what_it_links_to(
    workspace: Workspace, folder: Path
) -> None:
    names = [f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    outside = folder.parent / "outside"
    for number, name in enumerate(names):
        (outside / name).write_bytes(gguf(number))
        (folder / name).symlink_to(outside / name)

    create(workspace, folder, f"FROM ./{names[0]}")
    (folder / names[0]).unlink()
    (folder / names[0]).write_bytes(gguf())

    with pytest.raises(IntegrityError, match=f"{names[1]} is a link that leads out"):
        create(workspace, folder, f"FROM ./{names[0]}")


@pytest.mark.parametrize(
    "path", ["../outside/secret", "link", "{absolute}", "sub/../../outside/secret"]
)
def test_include_does_not_leave_the_recipes_folder(
    workspace: Workspace, folder: Path, path: str
) -> None:
    secret = folder.parent / "outside" / "secret"
    (folder / "link").symlink_to(secret)
    (folder / "sub").mkdir()

    with pytest.raises(UsageError, match="outside the folder of the recipe"):
        create(workspace, folder, f"FROM guide\nINCLUDE {path.format(absolute=secret)}")

    assert names_in(workspace) == []
