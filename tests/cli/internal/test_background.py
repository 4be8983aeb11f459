"""The command that other commands start as a server: its options, and what it imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from localrun.cli.internal import background
from localrun.cli.internal.background import serve_in_background
from localrun.errors import UsageError
from localrun.server import start
from localrun.server.core.early_load import EarlyLoad

UNTIL_BOUND = """
import sys
from localrun.cli import main
from localrun.server import start

def bind(settings):
    print("\\n".join(sys.modules))
    sys.exit()

start.bind = bind
sys.argv = ["localrun", "serve", "--background", "--load=guide"]
main.main()
"""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Return the settings' device and the options of each server that is started."""
    calls: list[dict[str, object]] = []

    def run_server(settings: object, **options: object) -> None:
        calls.append({"device": getattr(settings, "device", None), "early": options["early"]})

    monkeypatch.setattr(start, "run_server", run_server)
    return calls


@pytest.mark.parametrize("name", ["guide:latest", "--help", "a=b", "", "two words\n", "--load=x"])
def test_a_name_may_be_any_text(served: list[dict[str, object]], name: str) -> None:
    serve_in_background(["--device=cpu", f"--load={name}", "--load-ctx=512"])

    assert served == [{"device": "cpu", "early": EarlyLoad(name=name, num_ctx=512)}]


def test_the_draft_model_of_the_first_request_is_loaded_with_it(
    served: list[dict[str, object]],
) -> None:
    serve_in_background(["--load=a", "--load-draft=b"])

    assert served == [{"device": "auto", "early": EarlyLoad(name="a", draft="b")}]


def test_a_server_may_load_nothing(served: list[dict[str, object]]) -> None:
    serve_in_background([])

    assert served == [{"device": "auto", "early": None}]


@pytest.mark.parametrize("argument", ["--help", "guide", "--host=0.0.0.0", "--load-ctx=many"])
@pytest.mark.usefixtures("served")
def test_other_options_are_refused(argument: str) -> None:
    with pytest.raises(UsageError):
        serve_in_background([argument])


def test_a_server_listens_before_it_imports_what_it_needs_later() -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNTIL_BOUND], check=True, capture_output=True, text=True
    )
    modules = set(done.stdout.split())

    assert background.__name__ in modules
    assert modules.isdisjoint({"typer", "rich", "pydantic", "asyncio", "uvicorn", "fastapi", "ssl"})
