from __future__ import annotations

import sys

import platformdirs
import pytest

from localrun import folders

PAIRS = [
    (folders.data_folder, platformdirs.user_data_path),
    (folders.config_folder, platformdirs.user_config_path),
    (folders.cache_folder, platformdirs.user_cache_path),
    (folders.state_folder, platformdirs.user_state_path),
    (folders.log_folder, platformdirs.user_log_path),
]


@pytest.mark.parametrize("home", ["/home/ann", "/home/ann/", "/", "", "ann", None])
@pytest.mark.parametrize("named", [None, "", "/x/y", "/x//y/", "//x", "x/y", "~/x", " /x", "/x "])
def test_the_folders_are_those_of_platformdirs(
    home: str | None, named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {f"XDG_{kind}_HOME": named for kind in ("DATA", "CONFIG", "CACHE", "STATE")}
    for name, value in {**variables, "HOME": home}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)

    for ours, theirs in PAIRS:
        assert ours() == theirs("localrun")


def test_other_systems_have_other_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    for ours, theirs in PAIRS:
        assert ours() == theirs("localrun")
