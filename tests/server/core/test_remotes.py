"""A server with remote models: its APIs, its lists, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.modelfile.parse import parse_modelfile
from localrun.names.parse import parse_name
from localrun.services.creating.create import create_model
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from tests.fakes.engine import Asked, Wire, fake_engine, says
from tests.server.serving import posted, serving
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.engine import FakeEngine
    from tests.server.serving import Served

KEY = "secret-of-the-engine"
HELLO = [{"role": "user", "content": "hello"}]


class Front:
    """A server whose model ``big`` an engine answers."""

    def __init__(self, served: Served, engine: FakeEngine, workspace: Workspace) -> None:
        self.served = served
        self.engine = engine
        self.workspace = workspace

    def create(self, name: str, recipe: str) -> None:
        create_model(
            self.workspace,
            parse_name(name),
            parse_modelfile(recipe.encode()),
            folder=self.workspace.home,
        )

    def post(self, path: str, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.served.url}{path}", json={"model": "big", **body}, timeout=60)

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.served.url}{path}", timeout=60).json()

    def sent(self) -> dict[str, Any]:
        return self.engine.asked[-1].body


@contextlib.contextmanager
def front(tmp_path: Path, script: Any, **changed: Any) -> Iterator[Front]:
    settings = Settings(
        port=0,
        log_dir=tmp_path,
        models_dir=tmp_path / "models",
        prompts_dir=tmp_path / "cache" / "prompts",
        **changed,
    )
    workspace = Workspace(settings, {}, tmp_path, explains_paths=False)
    (tmp_path / "key").write_text(KEY)
    with fake_engine(script) as engine:
        with serving(workspace=workspace) as served:
            found = Front(served, engine, workspace)
            found.create("big", f"FROM remote+{engine.url}/m#key-file={tmp_path}/key&engine=vllm")
            yield found


def test_the_defaults_of_the_recipe_are_part_of_the_request(tmp_path: Path) -> None:
    with front(tmp_path, says("ok")) as found:
        found.create(
            "brief",
            "FROM big\nSYSTEM Be brief.\nPARAMETER temperature 0.5\nPARAMETER num_predict 9\n"
            'PARAMETER stop "END"\nMESSAGE user a\nMESSAGE assistant b\n',
        )
        answer = found.post("/v1/chat/completions", model="brief", messages=HELLO, top_p=0.5)

    assert answer.json()["choices"][0]["message"]["content"] == "ok"
    sent = found.sent()
    assert [message["content"] for message in sent["messages"]] == ["Be brief.", "a", "b", "hello"]
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"]) == (0.5, 0.5, 9)
    assert sent["stop"] == ["END"]
    assert "top_k" not in sent  # the engine has defaults of its own


def test_each_of_several_answers_has_its_seed(tmp_path: Path) -> None:
    with front(tmp_path, says("ok")) as found:
        found.post("/v1/chat/completions", messages=HELLO, n=3, seed=5)

    assert sorted(each.body["seed"] for each in found.engine.asked) == [5, 6, 7]


def test_the_lists_say_who_answers(tmp_path: Path) -> None:
    with front(tmp_path, says("ok")) as found:
        (listed,) = (each for each in found.get("/api/tags")["models"] if "remote_host" in each)
        shown = found.post("/api/show").json()
        models = found.get("/v1/models")["data"]

    assert listed["name"] == "big:latest"
    assert listed["remote_host"] == found.engine.url.removesuffix("/v1")
    assert listed["remote_model"] == shown["remote_model"] == "m"
    assert "big" in {model["id"] for model in models}
    assert shown["modelfile"] == f"FROM remote+{found.engine.url}/m#engine=vllm\n"
    assert str(tmp_path / "key") not in json.dumps(shown)


def test_open_requests_are_listed_and_ended_by_their_clients(tmp_path: Path) -> None:
    is_left = threading.Event()

    def slow(_: Asked, wire: Wire) -> None:
        wire.head()
        wire.delta(content="a")
        wire.wait_for_end()
        is_left.set()

    with front(tmp_path, slow) as found:
        body = {"model": "big", "messages": HELLO, "stream": True}
        with posted(found.served, "/v1/chat/completions", body):
            wait_until(lambda: found.get("/api/ps")["models"])
            (row,) = found.get("/api/ps")["models"]
            (own,) = found.get("/api/localrun/ps")["models"]
            metrics = httpx.get(f"{found.served.url}/metrics").text
        wait_until(is_left.is_set)
        wait_until(lambda: not found.get("/api/ps")["models"])

    assert (row["name"], row["num_open"], row["remote_model"]) == ("big:latest", 1, "m")
    assert (own["name"], own["state"], own["running"]) == ("big:latest", "remote", 1)
    assert 'localrun_remote_requests{model="big:latest"} 1' in metrics


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/completions", {"prompt": [1, 2]}, "prompt"),
        ("/v1/completions", {"prompt": "a", "echo": True, "logprobs": 1}, "echo"),
        ("/api/generate", {"prompt": "a", "context": [1]}, "context"),
        ("/api/generate", {"prompt": "a", "template": "{{ .Prompt }}"}, "template"),
        ("/v1/chat/completions", {"messages": HELLO, "mirostat": 2}, "mirostat"),
        ("/v1/chat/completions", {"messages": HELLO, "overflow": "shift"}, "overflow"),
        ("/v1/chat/completions", {"messages": HELLO, "num_keep": 5}, "num_keep"),
        ("/v1/chat/completions", {"messages": HELLO, "grammar": "start: /a/"}, "grammar"),
        ("/v1/embeddings", {"input": [[1, 2]]}, "input"),
    ],
)
def test_what_the_engine_cannot_carry_is_refused_by_name(
    path: str, body: dict[str, Any], field: str, tmp_path: Path
) -> None:
    with front(tmp_path, says("ok")) as found:
        answer = found.post(path, **body)

    assert answer.status_code == 400
    assert field in answer.text
    assert "127.0.0.1" in answer.text
    assert found.engine.asked == []


def test_engines_that_count_tokens_are_asked(tmp_path: Path) -> None:
    def script(asked: Asked, wire: Wire) -> None:
        wire.json({"count": 42} if asked.path == "/tokenize" else {})

    with front(tmp_path, script) as found:
        found.create("brief", "FROM big\nSYSTEM Be brief.\n")
        answer = found.post("/v1/messages/count_tokens", model="brief", messages=HELLO)

    assert answer.json() == {"input_tokens": 42}
    assert [each["content"] for each in found.sent()["messages"]] == ["Be brief.", "hello"]


@pytest.mark.parametrize("path", ["/tokenize", "/v1/apply-template"])
def test_tokens_are_not_counted_here(path: str, tmp_path: Path) -> None:
    with front(tmp_path, says("ok")) as found:
        answer = found.post(path, messages=HELLO, content="a", prompt="a")

    assert answer.status_code == 400
    assert "big:latest is a remote model" in answer.text


def test_an_error_of_the_engine_has_a_status_before_the_stream_and_is_its_last_event_after(
    tmp_path: Path,
) -> None:
    def script(asked: Asked, wire: Wire) -> None:
        if asked.body["messages"][-1]["content"] == "refuse":
            wire.status(401, b'{"error": "no %s"}' % KEY.encode())
            return
        wire.head()
        wire.delta(content="a")

    with front(tmp_path, script) as found:
        refused = found.post(
            "/v1/chat/completions", stream=True, messages=[{"role": "user", "content": "refuse"}]
        )
        broken = found.post("/v1/chat/completions", stream=True, messages=HELLO)
        lines = found.post("/api/chat", messages=HELLO).text.splitlines()

    assert refused.status_code == 502
    assert refused.json()["error"]["code"] == "remote_engine_error"
    assert KEY not in refused.text
    assert broken.status_code == 200
    *_, error, done = filter(None, broken.text.split("\n\n"))
    assert "in the middle of its answer" in error
    assert done == "data: [DONE]"
    assert "in the middle of its answer" in json.loads(lines[-1])["error"]


def test_offline_only_this_machine_answers(tmp_path: Path) -> None:
    with front(tmp_path, says("ok"), is_offline=True) as found:
        found.create("far", "FROM remote+http://gpu1.example:8000/v1/m")
        here = found.post("/v1/chat/completions", messages=HELLO)
        far = found.post("/v1/chat/completions", model="far", messages=HELLO)

    assert here.status_code == 200
    assert far.status_code == 502
    assert "LOCALRUN_OFFLINE" in far.text


def test_a_client_cannot_choose_where_prompts_and_keys_go(tmp_path: Path) -> None:
    evil = "remote+http://evil.example/v1/m#key-file=/etc/passwd"

    with front(tmp_path, says("ok")) as found:
        by_fields = found.post("/api/create", **{"from": evil, "model": "x"})
        by_text = found.post("/api/create", model="x", modelfile=f"FROM {evil}")
        derived = found.post("/api/create", model="x", **{"from": "big"}, stream=False)

    assert by_fields.status_code == by_text.status_code == 400
    assert "only the owner of this machine" in by_fields.text
    assert derived.status_code in {200, 500}  # a job: it has no program of its own here


def test_loading_asks_whether_the_engine_is_there(tmp_path: Path) -> None:
    with front(tmp_path, says("ok")) as found:
        loaded = found.post("/api/generate").json()
        found.create("away", "FROM remote+http://127.0.0.1:9/v1/m")
        away = found.post("/api/generate", model="away")

    assert loaded["done_reason"] == "load"
    assert [each.path for each in found.engine.asked] == ["/v1/models"]
    assert away.status_code == 502


def test_a_larger_context_than_the_engine_has_is_refused(tmp_path: Path) -> None:
    with front(tmp_path, says("ok")) as found:
        found.create("small", f"FROM remote+{found.engine.url}/m#context=1000")
        options = {"num_ctx": 2000}
        answer = found.post("/api/chat", model="small", messages=HELLO, options=options)
        fits = found.post("/api/chat", model="small", messages=HELLO, options={"num_ctx": 900})

    assert answer.status_code == 400
    assert "1000 tokens" in answer.text
    assert fits.status_code == 200


def test_background_requests_give_way_at_another_localrun(tmp_path: Path) -> None:
    headers = {"X-Localrun-Priority": "background"}

    with front(tmp_path, says("ok")) as found:
        found.create("peer", f"FROM remote+{found.engine.url}/m#engine=localrun")
        for model in ("peer", "big"):
            body = {"model": model, "messages": HELLO}
            url = f"{found.served.url}/v1/chat/completions"
            httpx.post(url, json=body, headers=headers, timeout=60)

    sent = [each.headers.get("x-localrun-priority") for each in found.engine.asked]
    assert sent == ["background", None]  # an engine that knows no such header gets none


def test_the_answers_are_counted_without_texts_of_clients(tmp_path: Path) -> None:
    with front(tmp_path, says("a", "b", prompt_tokens=3, completion_tokens=2)) as found:
        found.post("/v1/chat/completions", messages=HELLO)
        metrics = httpx.get(f"{found.served.url}/metrics").text

    assert 'localrun_generated_tokens_total{model="big:latest"} 2' in metrics
    assert 'localrun_answers_total{model="big:latest",end="stop"} 1' in metrics
