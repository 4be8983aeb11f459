"""``localrun health``, which the health check of the container image runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Localrun
    from tests.cli.fake_server import FakeServer


def test_a_server_that_answers_is_healthy(localrun: Localrun, server: FakeServer) -> None:
    done = localrun("health")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert server.script.paths == ["/healthz"]


def test_without_a_server_the_check_fails(localrun_alone: Localrun) -> None:
    done = localrun_alone("health")

    assert done.returncode == 5
    assert "no localrun server answers" in done.stderr
