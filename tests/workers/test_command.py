from __future__ import annotations

import pytest

from localrun.errors import UsageError
from localrun.workers.command import MAX_WORKERS, parse_commands


def arguments(line: str) -> str:
    (command,) = parse_commands([line])
    return " ".join(command.arguments)


def test_localrun_worker_is_appended_unless_the_command_is_complete() -> None:
    assert arguments("kubectl exec -i pod --") == "kubectl exec -i pod"
    assert arguments("docker exec -i 'my box'") == "docker exec -i my box localrun worker"
    assert parse_commands(["docker exec  -i box --"])[0].name == "docker exec -i box"


def test_ssh_gives_up_a_silent_host_and_asks_no_questions() -> None:
    words = arguments("/usr/bin/ssh -p 2222 me@nas")

    assert words.startswith("/usr/bin/ssh -o ServerAliveInterval=3 ")
    assert "-o BatchMode=yes" in words
    assert words.endswith("-p 2222 me@nas localrun worker")


def test_what_the_user_says_to_ssh_counts() -> None:
    words = arguments("ssh -o serveraliveinterval=60 gpu1")

    assert "ServerAliveInterval=3" not in words
    assert "ServerAliveCountMax=2" in words


def test_empty_lines_are_no_workers() -> None:
    assert parse_commands(["", "  ", "# "[:0]]) == ()


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["ssh 'gpu1"], "is no command: No closing quotation"),
        (["--"], "is no command"),
        (["ssh gpu1", "ssh  gpu1"], "`ssh gpu1` is named twice"),
        ([f"ssh gpu{number}" for number in range(MAX_WORKERS + 1)], "there are 17 workers"),
    ],
)
def test_a_wrong_command_is_one_error(lines: list[str], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_commands(lines)

    assert problem in caught.value.message
