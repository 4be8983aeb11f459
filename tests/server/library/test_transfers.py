"""Pull, push and create through the server, with the Ollama client."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from localrun.gguf.header import read_headers
from localrun.server import jobs
from localrun.services.drafting.known import MIN_BYTES
from localrun.services.workspace import Workspace
from localrun.store.store import embedded_models
from tests.convert.tiny import decoder
from tests.fakes.faults import Fault
from tests.fakes.registry import FakeRegistry
from tests.fakes.web import serving as serving_web
from tests.server.serving import serving
from tests.services.making import NAME, WEIGHTS, digest, entry_of, gguf, names_in
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    import ollama

    from localrun.settings import Settings
    from tests.fakes.hub import FakeHub
    from tests.server.serving import Served

HOUSE = """
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
size = "7 MB"
[[house.sizes]]
tag = "1b"
huggingface = "owner/small-GGUF"
quantization = "Q8_0"
size = "2 MB"
"""
ADAPTERS = Path(__file__).parents[3] / "modelfiles" / "adapters"


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if is_job(one)]


def first_byte(asked: str | None) -> int:
    return int((asked or "bytes=0-").removeprefix("bytes=").split("-")[0])


def is_job(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[-1:] == ["job"]
    except psutil.Error:  # it has ended
        return False


def post(served: Served, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{served.url}/api/{path}", json=body)


def test_a_pull_streams_its_progress_and_ends_with_success(
    client: ollama.Client, workspace: Workspace
) -> None:
    frames = list(client.pull(NAME, stream=True))

    statuses = [frame.status for frame in frames]
    weights = [frame for frame in frames if frame.digest == digest(WEIGHTS)]
    assert (statuses[0], statuses[-1]) == ("pulling manifest", "success")
    assert weights[-1].status == f"pulling {digest(WEIGHTS)[7:19]}"
    assert (weights[-1].completed, weights[-1].total) == (len(WEIGHTS), len(WEIGHTS))
    assert entry_of(workspace, NAME).manifest.blobs[0].digest


def test_a_pull_names_the_draft_model_that_the_catalog_knows(
    hub: FakeHub, workspace: Workspace, tmp_path: Path
) -> None:
    large = embedded_models()["guide:latest"].read_bytes() + bytes(MIN_BYTES)
    hub.add("owner/large-GGUF", {"large-Q8_0.gguf": large})
    (tmp_path / "catalog.toml").write_text(HOUSE)
    environ = {**workspace.environ, "LOCALRUN_CATALOG": str(tmp_path / "catalog.toml")}

    def drafts(settings: Settings) -> list[dict[str, Any]]:
        """Return the draft models that a pull by a server with these settings names."""
        with serving(workspace=Workspace(settings, environ, home=workspace.home)) as served:
            lines = post(served, "pull", model="house:4b").text.splitlines()
        assert json.loads(lines[-1]) == {"status": "success"}
        return [frame for line in lines if "draft" in (frame := json.loads(line))]

    (frame,) = drafts(workspace.settings)
    assert frame["draft"] == {"name": "house:1b", "size_bytes": 2_000_000, "is_here": False}
    assert frame["status"].startswith("house:1b would draft tokens")
    assert drafts(replace(workspace.settings, draft="none")) == []
    assert "house:1b" not in names_in(workspace)


@pytest.mark.parametrize("name", ["guide", "guide:latest"])
def test_a_pull_of_what_comes_with_localrun_has_succeeded_already(
    client: ollama.Client, workspace: Workspace, name: str
) -> None:
    assert client.pull(name).status == "success"
    assert [line.status for line in client.pull(name, stream=True)][-1] == "success"
    assert names_in(workspace) == []


def test_a_pull_that_is_not_streamed_is_one_object(
    client: ollama.Client, workspace: Workspace
) -> None:
    assert client.pull(NAME).status == "success"
    assert client.pull(NAME).status == "success"  # all of it is here
    assert names_in(workspace) == [NAME]


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_model_that_is_nowhere_is_404(library: Served, *, is_streamed: bool) -> None:
    response = post(library, "pull", model="hf.co/owner/nothing", stream=is_streamed)

    assert response.status_code == 404
    assert response.json()["code"] == "model_not_found"


def test_an_error_in_the_middle_is_the_last_line(library: Served, hub: FakeHub) -> None:
    hub.faults.append(Fault.flip(5000, path="Q4_K_M.gguf", count=9))

    lines = post(library, "pull", model=NAME).text.splitlines()
    frames = [json.loads(line) for line in lines]

    assert frames[0]["status"] == "pulling manifest"
    assert frames[-1]["code"] == "integrity_error"
    assert not any(frame.get("status") == "success" for frame in frames)


def test_a_client_that_leaves_ends_the_pull_and_the_bytes_stay(
    client: ollama.Client,
    library: Served,
    hub: FakeHub,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "GRACE_S", 10 * HANG_S)  # the child ends by itself
    large = gguf(3, 3_000_000)
    hub.add("owner/large-GGUF", {"model-Q4_K_M.gguf": large})
    hub.faults.append(Fault.stall(100_000, path="model-Q4_K_M.gguf", count=9))
    body = {"model": "hf.co/owner/large-GGUF"}
    with httpx.stream("POST", f"{library.url}/api/pull", json=body) as response:
        for line in response.iter_lines():
            if json.loads(line).get("completed") == 100_000:
                break

    wait_until(lambda: not children())
    hub.faults.clear()
    before = len(hub.file_requests)
    ended = client.pull("hf.co/owner/large-GGUF")

    assert ended.status == "success"
    starts = [first_byte(request.headers.get("Range")) for request in hub.file_requests[before:]]
    assert starts
    assert min(starts) > 0
    assert "hf.co/owner/large-GGUF:latest" in names_in(workspace)


def test_a_job_that_dies_is_an_error_and_the_next_one_works(
    client: ollama.Client, library: Served, hub: FakeHub
) -> None:
    hub.faults.append(Fault.drip(1000, path="Q4_K_M.gguf", count=9))
    frames: list[dict[str, Any]] = []
    with httpx.stream("POST", f"{library.url}/api/pull", json={"model": NAME}) as response:
        for line in response.iter_lines():
            frames.append(json.loads(line))
            for job in children():
                job.kill()
    hub.faults.clear()

    assert "ended without a result" in frames[-1]["error"]
    assert client.pull(NAME).status == "success"


def test_more_jobs_than_are_sensible_are_refused(
    client: ollama.Client, library: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MAX_JOBS", 0)
    refused = post(library, "pull", model=NAME)
    monkeypatch.setattr(jobs, "MAX_JOBS", 1)

    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert client.pull(NAME).status == "success"
    assert client.pull(NAME).status == "success"  # the first one's place is free again


def test_a_push_brings_the_model_to_its_registry(client: ollama.Client, library: Served) -> None:
    with serving_web(FakeRegistry()) as registry:
        client.copy("guide", f"{registry.host}/me/guide:1")

        frames = [
            json.loads(line)
            for line in post(library, "push", model=f"{registry.host}/me/guide:1").text.splitlines()
        ]

        assert (frames[0]["status"], frames[-1]["status"]) == ("retrieving manifest", "success")
        assert any("digest" in frame for frame in frames)
        assert ("me/guide", "1") in _answers(registry).manifests


def test_a_model_is_created_from_another(client: ollama.Client, workspace: Workspace) -> None:
    statuses = [
        frame.status
        for frame in client.create(
            "mine",
            from_="guide",
            system="You are a pirate.",
            parameters={"temperature": 0.5, "num_ctx": 512, "stop": ["x", "y"]},
            license=["Free."],
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
        )
    ]

    recipe = workspace.models.find_model("mine").recipe
    assert statuses[-1] == "success"
    assert recipe.system == "You are a pirate."
    assert dict(recipe.parameters) == {"temperature": 0.5, "num_ctx": 512, "stop": "y"}
    assert recipe.stop == ("x", "y")
    assert recipe.messages == (("user", "hi"),)
    assert recipe.licenses == ("Free.",)


def test_a_model_is_created_from_an_uploaded_file(
    client: ollama.Client, workspace: Workspace
) -> None:
    path = embedded_models()["guide:latest"]

    blob = client.create_blob(path)
    client.create("mine", files={"guide.gguf": blob})

    (weights,) = [b for b in entry_of(workspace, "mine").manifest.blobs if b.digest == blob]
    assert weights.size_bytes == path.stat().st_size
    assert client.show("mine").template == client.show("guide").template


def test_a_model_is_created_from_the_files_of_a_safetensors_folder(
    client: ollama.Client, workspace: Workspace, tmp_path: Path
) -> None:
    folder = decoder("llama", "LlamaForCausalLM").write(tmp_path / "model")
    files = {path.name: client.create_blob(path) for path in sorted(folder.iterdir())}

    client.create("mine", files=files, quantize="Q8_0")

    found = workspace.models.find_model("mine")
    assert (found.details.family, found.details.quantization_level) == ("llama", "Q8_0")
    assert list(workspace.store.layout.tmp.iterdir()) == []


@pytest.mark.parametrize("path", [ADAPTERS / "pirate.gguf", ADAPTERS / "pirate"])
def test_an_uploaded_adapter_is_used(
    client: ollama.Client, workspace: Workspace, path: Path
) -> None:
    paths = sorted(path.iterdir()) if path.is_dir() else [path]

    client.create(
        "mine", from_="guide", adapters={one.name: client.create_blob(one) for one in paths}
    )

    assert [scale for _, scale in workspace.models.find_model("mine").adapters] == [1.0]


def test_a_renderer_and_a_parser_are_shown(library: Served) -> None:
    post(library, "create", model="mine", **{"from": "guide"}, renderer="qwen3", parser="hermes")

    shown = post(library, "show", model="mine").json()

    assert (shown["renderer"], shown["parser"]) == ("qwen3", "hermes")


def test_an_uploaded_draft_model_comes_along(
    client: ollama.Client, library: Served, workspace: Workspace
) -> None:
    blob = client.create_blob(embedded_models()["guide:latest"])

    post(library, "create", model="mine", **{"from": "guide"}, draft_files={"d.gguf": blob})

    assert [path.name for path in workspace.models.find_model("mine").draft] == [blob[7:]]


def test_a_draft_model_is_converted_and_quantized(
    client: ollama.Client, library: Served, workspace: Workspace, tmp_path: Path
) -> None:
    folder = decoder("llama", "LlamaForCausalLM").write(tmp_path / "model")
    drafts = {path.name: client.create_blob(path) for path in sorted(folder.iterdir())}
    body = {"from": "guide", "draft_files": drafts, "draft_quantize": "q8_0"}

    frames = post(library, "create", model="mine", **body).text.splitlines()

    assert json.loads(frames[-1]) == {"status": "success"}
    found = workspace.models.find_model("mine")
    assert read_headers(found.draft).file_type == "Q8_0"
    assert found.shards[0].stat().st_size == embedded_models()["guide:latest"].stat().st_size


def test_a_draft_model_that_is_quantized_already_is_named(
    client: ollama.Client, library: Served
) -> None:
    blob = client.create_blob(embedded_models()["guide:latest"])
    body = {"from": "guide", "draft_files": {"d.gguf": blob}, "draft_quantize": "Q4_K_M"}

    response = post(library, "create", model="mine", **body)

    assert "weights of the draft model are" in response.text


def test_older_clients_name_a_blob_in_the_modelfile(
    client: ollama.Client, library: Served, workspace: Workspace
) -> None:
    blob = client.create_blob(embedded_models()["guide:latest"])
    text = f"FROM @{blob}\nSYSTEM old\n"

    frames = post(library, "create", name="mine", modelfile=text).text.splitlines()

    assert json.loads(frames[-1]) == {"status": "success"}
    assert workspace.models.find_model("mine").recipe.system == "old"


@pytest.mark.parametrize(
    ("info", "wrong"),
    [
        ({}, None),
        ({"context_length": 2048, "model_family": "qwen3", "capabilities": ["tools"]}, None),
        ({"quantization_level": "Q8_0", "base_name": "", "embedding_length": 0}, None),
        ({"context_length": 4096}, "info.context_length"),
        ({"model_family": "llama"}, "info.model_family"),
        ({"capabilities": ["embedding"]}, "info.capabilities"),
    ],
)
def test_facts_that_a_client_states_are_checked(
    library: Served, info: dict[str, Any], wrong: str | None
) -> None:
    body = {"from": "guide", "system": "You are kind.", "info": info, "stream": False}

    answer = post(library, "create", model="stated", **body)

    assert answer.status_code == (200 if wrong is None else 400)
    assert wrong is None or wrong in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "from"),
        ({"from": "guide", "files": {"a.gguf": digest(b"")}}, "from"),
        ({"files": {"a.gguf": "sha256:12"}}, "files.a.gguf"),
        ({"from": "guide", "parameters": {"heat": 1}}, "parameters.heat"),
        ({"from": "guide", "parameters": {"num_ctx": "wide"}}, "parameters.num_ctx"),
        ({"from": "guide", "parameters": {"seed": [1, 2]}}, "parameters.seed"),
        ({"from": "guide", "messages": [{"role": "king", "content": "x"}]}, "messages[0]"),
        ({"from": "guide", "adapters": 3}, "adapters"),
        ({"from": "guide", "remote_host": "x"}, "remote_host"),
        ({"from": "guide", "draft_files": {"a.gguf": "x"}}, "draft_files.a.gguf"),
        ({"from": "guide", "draft_quantize": "Q8_0"}, "draft_quantize"),
        ({"from": "guide", "info": {"remote": "x"}}, "info.remote"),
        ({"from": "guide", "info": {"context_length": "long"}}, "info.context_length"),
        ({"from": "guide", "system": "\0"}, "modelfile"),
        ({"modelfile": "SYSTEM x"}, "modelfile"),
    ],
)
def test_a_wrong_recipe_is_400_and_named(library: Served, body: dict[str, Any], named: str) -> None:
    response = post(library, "create", model="mine", **body)

    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{named} ")


@pytest.mark.parametrize("source", ["/etc/passwd", "./model.gguf", "~/model.gguf", "../x"])
@pytest.mark.parametrize("keyword", ["FROM", "FROM guide\nADAPTER", "FROM guide\nDRAFT"])
def test_a_server_reads_no_files_for_its_clients(
    library: Served, source: str, keyword: str
) -> None:
    response = post(library, "create", model="mine", modelfile=f"{keyword} {source}\n")

    assert response.status_code == 400
    assert "reads no files" in response.json()["error"]


@pytest.mark.parametrize("name", ["../x.json", "/etc/x.json", "a\\b.json", "x\0.json"])
def test_the_name_of_an_uploaded_file_stays_in_its_folder(
    client: ollama.Client, library: Served, tmp_path: Path, name: str
) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"{}")
    blob = client.create_blob(small)

    response = post(library, "create", model="mine", files={name: blob})

    assert response.status_code == 400
    assert "not a valid file name" in response.json()["error"]


def _answers(web: Any) -> FakeRegistry:
    registry: FakeRegistry = web.answer
    return registry
