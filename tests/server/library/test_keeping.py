"""List, show, copy and delete, as the Ollama client asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import ollama
import pytest

from localrun.gguf.header import SkippedArray, read_header
from localrun.store.manifest import Role
from localrun.store.store import embedded_models
from tests.services.making import LICENCE, NAME, TEMPLATE, entry_of, names_in, pull

if TYPE_CHECKING:
    from localrun.services.workspace import Workspace
    from tests.server.serving import Served

PULLED = "hf.co/owner/some-GGUF:Q4_K_M"


def test_a_model_is_shown_as_its_file_and_recipe_say(
    client: ollama.Client, workspace: Workspace
) -> None:
    pull(workspace, NAME)

    shown = client.show(PULLED)

    assert shown.template == TEMPLATE.decode()
    assert shown.license == LICENCE.decode()
    assert shown.details is not None
    assert (shown.details.format, shown.details.family) == ("gguf", "llama")
    assert shown.modelinfo is not None
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.capabilities == ["completion", "vision"]
    assert shown.modified_at is not None


def test_a_shown_modelfile_makes_the_same_model(
    client: ollama.Client, workspace: Workspace, library: Served
) -> None:
    client.create("made", from_="guide", system='Say "aye".', parameters={"stop": ["a", "b"]})
    shown = client.show("made")
    body = {"model": "again", "modelfile": shown.modelfile, "stream": False}

    answer = httpx.post(f"{library.url}/api/create", json=body).json()

    assert answer == {"status": "success"}
    digests = {model.model: model.digest for model in client.list().models}
    assert digests["again:latest"] == digests["made:latest"]
    assert shown.parameters == f'{"stop":<30} "a"\n{"stop":<30} "b"'
    assert names_in(workspace) == ["again:latest", "made:latest"]


@pytest.mark.parametrize("what", ["manifest", "weights", "projector"])
@pytest.mark.parametrize("how", ["missing", "cut short"])
def test_a_model_with_a_missing_file_is_said_to_be_damaged_by_its_name(
    what: str, how: str, workspace: Workspace, library: Served
) -> None:
    pull(workspace, NAME)
    entry = entry_of(workspace)
    digests = {
        "manifest": entry.ref.manifest,
        "weights": entry.manifest.with_role(Role.WEIGHTS)[0].digest,
        "projector": entry.manifest.with_role(Role.PROJECTOR)[0].digest,
    }
    blob = workspace.store.layout.blob(digests[what])
    cut = blob.read_bytes()[:-1]
    blob.unlink()
    if how == "cut short":
        blob.write_bytes(cut)
    chat = {"model": NAME, "messages": [{"role": "user", "content": "hi"}], "stream": False}
    asked = {
        "/api/show": {"model": NAME},
        "/api/chat": chat,
        "/v1/chat/completions": chat,
        "/v1/messages": {**chat, "max_tokens": 5},
        "/v1/embeddings": {"model": NAME, "input": "hi"},
        "/api/copy": {"source": NAME, "destination": "copied"},
        "/api/create": {"model": "made", "from": NAME, "system": "x", "stream": False},
    }

    answers = {path: httpx.post(f"{library.url}{path}", json=body) for path, body in asked.items()}
    listed = httpx.get(f"{library.url}/api/tags").json()["models"]

    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(
        asked, 422
    )
    assert all(NAME in answer.text for answer in answers.values())
    assert NAME not in [model["name"] for model in listed]
    assert names_in(workspace) == ([] if what == "manifest" else [NAME])


def test_a_vocabulary_is_shown_only_on_request(library: Served) -> None:
    def show(**fields: bool) -> dict[str, object]:
        body = {"model": "guide", **fields}
        found: dict[str, object] = httpx.post(f"{library.url}/api/show", json=body).json()
        return found

    header = read_header(embedded_models()["guide:latest"])
    short, verbose = show(), show(verbose=True)

    assert "tensors" not in short
    assert isinstance(verbose["tensors"], list)
    assert [tensor["name"] for tensor in verbose["tensors"]] == list(header.tensors)
    info, all_of_it = short["model_info"], verbose["model_info"]
    assert isinstance(info, dict)
    assert isinstance(all_of_it, dict)
    vocabulary = header.metadata["tokenizer.ggml.tokens"]
    assert isinstance(vocabulary, SkippedArray)
    assert info["tokenizer.ggml.tokens"] is None
    assert len(all_of_it["tokenizer.ggml.tokens"]) == vocabulary.length
    assert info["general.parameter_count"] == header.num_params


def test_a_copy_is_another_name_and_a_deletion_takes_one_away(
    client: ollama.Client, workspace: Workspace
) -> None:
    client.copy("guide", "mine")
    before = [model.model for model in client.list().models]
    client.delete("mine")

    assert before == ["guide:latest", "mine:latest"]
    assert [model.model for model in client.list().models] == ["guide:latest"]
    assert names_in(workspace) == []


def test_a_deleted_model_is_unloaded(client: ollama.Client, library: Served) -> None:
    client.copy("guide", "mine")
    client.generate("mine", "say x")
    loaded = [model.name for model in library.pool.running()]

    client.delete("mine")

    assert (loaded, library.pool.running()) == (["mine:latest"], [])


def test_what_is_not_here_is_404_and_what_is_embedded_stays(client: ollama.Client) -> None:
    for ask in (client.show, client.delete, lambda name: client.copy(name, "other")):
        with pytest.raises(ollama.ResponseError, match="nosuch") as caught:
            ask("nosuch")
        assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="comes with localrun") as caught:
        client.delete("guide")
    assert caught.value.status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("show", {}, "model"),
        ("show", {"model": 3}, "model"),
        ("copy", {"source": "guide"}, "destination"),
        ("copy", {"destination": "guide"}, "source"),
        ("pull", {"model": "guide", "insecure": "no"}, "insecure"),
    ],
)
def test_a_wrong_field_is_named(
    library: Served, path: str, body: dict[str, object], named: str
) -> None:
    response = httpx.post(f"{library.url}/api/{path}", json=body)

    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{named} ")


def test_openai_lists_names_with_slashes_and_finds_them(
    library: Served, workspace: Workspace
) -> None:
    pull(workspace, NAME)

    listed = httpx.get(f"{library.url}/v1/models").json()["data"]
    found = httpx.get(f"{library.url}/v1/models/{PULLED}").json()

    assert [model["id"] for model in listed] == ["guide", PULLED]
    assert found == listed[1]
    assert found["object"] == "model"
    assert found["created"] > 1_700_000_000
    assert httpx.delete(f"{library.url}/v1/models/{PULLED}").status_code == 405
