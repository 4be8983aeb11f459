"""What clients cannot find out by names that are addresses or paths: hosts and files inside."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.services.workspace import Workspace
from localrun.store.store import embedded_models
from tests.fakes.web import Reply
from tests.fakes.web import serving as serving_web
from tests.server.serving import serving
from tests.services.making import names_in, with_environ

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.serving import Served


HI = {"role": "user", "content": "hi"}


@pytest.fixture
def careful(workspace: Workspace) -> Workspace:
    """Return a workspace as a server has it: its owner has named the hub alone."""
    named = with_environ(workspace, LOCALRUN_PULL_PRIVATE="0")
    return Workspace(named.settings, named.environ, home=named.home, explains_paths=False)


@pytest.fixture(scope="module")
def warm(pytestconfig: pytest.Config) -> Iterator[Path | None]:
    """Return the socket of a warm process that starts the jobs as in a server, if there can be."""
    is_possible = pytestconfig.getoption("--transport") == "unix"
    is_wanted = pytestconfig.getoption("--warm") != "never"
    if sys.platform == "linux" and is_possible and is_wanted:
        from tests.warm_process import warm_process

        with TemporaryDirectory(prefix="jobs-") as folder:
            path = Path(folder, "warm", "socket")
            with warm_process(path):
                yield path
    else:
        yield None


@pytest.fixture
def library(careful: Workspace, warm: Path | None) -> Iterator[Served]:
    with serving(workspace=careful, warm=warm) as found:
        yield found


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Return paths of all kinds: of nothing, a text, a folder, a damaged model, a cut one."""
    whole = embedded_models()["guide:latest"].read_bytes()
    contents = {"text.gguf": b"secret", "empty.gguf": b"", "cut.gguf": whole[:5000]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.gguf").mkdir()
    names = [*contents, "folder.gguf", "nothing.gguf"]
    return {name: str(tmp_path / name) for name in names}


def ask(served: Served, method: str, path: str, **body: Any) -> httpx.Response:
    return httpx.request(method, f"{served.url}{path}", json={"stream": False, **body})


def test_a_client_cannot_have_the_server_connect_to_its_own_network(
    library: Served, careful: Workspace
) -> None:
    with serving_web(lambda _: Reply(200, b"secret")) as inside:
        names = [f"{inside.url}/x.gguf", f"{inside.host}/team/model", f"oci://{inside.host}/model"]
        answers = [ask(library, "POST", "/api/pull", model=name) for name in names]
        answers.append(
            ask(library, "POST", "/api/create", model="mine", modelfile=f"FROM {inside.url}/x")
        )

    assert [answer.status_code for answer in answers] == [403] * 4
    assert {answer.json()["code"] for answer in answers} == {"private_address"}
    assert "LOCALRUN_PULL_PRIVATE=127.0.0.1" in answers[0].json()["hint"]
    assert inside.requests == []
    assert names_in(careful) == []


def test_hosts_that_answer_and_hosts_that_do_not_are_told_apart_by_nothing(
    library: Served,
) -> None:
    with serving_web(lambda _: Reply(200, b"secret")) as inside:
        there = ask(library, "POST", "/api/pull", model=f"{inside.url}/x.gguf").json()
        closed = ask(library, "POST", "/api/pull", model="http://127.0.0.1:9/x.gguf").json()

    assert there == closed


def test_what_the_owner_has_named_can_be_pulled_from(careful: Workspace) -> None:
    whole = embedded_models()["guide:latest"].read_bytes()
    with serving_web(lambda _: Reply(200, whole)) as inside:
        named = with_environ(careful, LOCALRUN_PULL_PRIVATE=inside.host)
        with serving(workspace=named) as served:
            answer = ask(served, "POST", "/api/pull", model=f"{inside.url}/x.gguf")

    assert answer.json()["status"] == "success"
    assert names_in(careful) == [f"{inside.url}/x.gguf"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/show", {}),
        ("POST", "/api/generate", {"prompt": "hi"}),
        ("POST", "/api/embed", {"input": "hi"}),
        ("POST", "/api/copy", {"destination": "mine"}),
        ("DELETE", "/api/delete", {}),
        ("POST", "/api/pull", {}),
        ("POST", "/api/push", {}),
        ("POST", "/v1/chat/completions", {"messages": [HI]}),
        ("POST", "/v1/messages", {"messages": [HI], "max_tokens": 1}),
        ("POST", "/v1/tokenize", {"prompt": "hi"}),
        ("GET", "/api/localrun/why", {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["{}", "guide+{}", "file://{}"])
def test_a_path_gets_one_answer_whatever_is_there(
    library: Served, files: dict[str, str], method: str, path: str, body: dict[str, Any], form: str
) -> None:
    answers = set()
    for file in files.values():
        name = form.format(file)
        at = f"{path}?model={name}" if method == "GET" else path
        answer = ask(library, method, at, model=name, source=name, **body)
        body_of_all = {**answer.json(), "request_id": ""}
        answers.add((answer.status_code, str(body_of_all).replace(file, "PATH")))

    assert len(answers) == 1
    assert answers.pop()[0] in {400, 404}


@pytest.mark.parametrize("start", ["", "a/../../../../../../../../../../..", "./files/../../../.."])
@pytest.mark.parametrize("line", ["FROM", "FROM guide\nADAPTER", "FROM guide\nDRAFT"])
def test_a_recipe_over_the_api_tells_nothing_of_files(
    library: Served, tmp_path: Path, start: str, line: str
) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"secret")
    answers = set()
    for file in (there, tmp_path / "nothing", tmp_path):
        named = f"{start}{file}"
        answer = ask(library, "POST", "/api/create", model="mine", modelfile=f"{line} {named}")
        answers.add((answer.status_code, answer.text.replace(named, "PATH")))

    assert len(answers) == 1
    assert answers.pop()[0] == 400
