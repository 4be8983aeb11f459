"""Control groups of a client with limits of their own."""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import os

import pytest

from localrun.warm import peer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
SELF = 1


@pytest.mark.parametrize(
    ("ours", "theirs", "limited", "is_confined"),
    [
        (["0::/a/b"], ["0::/a/b"], {"/a/b"}, False),
        (["0::/a/b"], ["0::/a/c"], set(), False),
        (["0::/a/b"], ["0::/a/c"], {"/a/c"}, True),
        (["0::/a/b"], ["0::/a/c/d"], {"/a/c"}, True),
        (["0::/a/b"], ["0::/a/c/d"], {"/a"}, False),
        (["0::/a/b"], ["0::/a"], {"/a"}, False),
        (["0::/a"], ["0::/a/b"], {"/a/b"}, True),
        (["0::/"], ["0::/b"], {"/b"}, True),
        (["0::/ab"], ["0::/a"], {"/a"}, True),
        (["1:cpu:/a"], ["1:cpu:/b"], set(), True),
        (["1:cpu:/a"], ["1:cpu:/a"], {"/a"}, False),
    ],
)
def test_a_client_in_a_group_with_limits_of_its_own_is_confined(
    monkeypatch: pytest.MonkeyPatch,
    ours: list[str],
    theirs: list[str],
    limited: set[str],
    *,
    is_confined: bool,
) -> None:
    monkeypatch.setattr(
        peer, "_control_groups", lambda process: ours if process == "self" else theirs
    )
    monkeypatch.setattr(peer, "_group_limits", lambda path: ["1"] if path in limited else [])

    assert peer._is_confined(SELF) is is_confined


def test_a_process_has_the_rights_of_its_child() -> None:
    assert peer.rights("self") == peer.rights(os.getpid())
    assert any(line.startswith("CapEff:") for line in peer.rights("self"))
