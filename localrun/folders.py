"""Folders of the user for this program, by the rules of the system.

platformdirs knows the rules; importing it takes a good part of a short command. The usual case of
Linux, absolute paths in ``XDG_*_HOME`` or in ``HOME``, needs it for nothing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

NAME = "localrun"


def data_folder() -> Path:
    """Return the folder of data: ``~/.local/share/localrun``."""
    folder = _of_linux("XDG_DATA_HOME", ".local/share")
    if folder is None:
        from platformdirs import user_data_path

        return user_data_path(NAME)
    return folder


def config_folder() -> Path:
    """Return the folder of files that the user writes: ``~/.config/localrun``."""
    folder = _of_linux("XDG_CONFIG_HOME", ".config")
    if folder is None:
        from platformdirs import user_config_path

        return user_config_path(NAME)
    return folder


def cache_folder() -> Path:
    """Return the folder of files that can be made again: ``~/.cache/localrun``."""
    folder = _of_linux("XDG_CACHE_HOME", ".cache")
    if folder is None:
        from platformdirs import user_cache_path

        return user_cache_path(NAME)
    return folder


def state_folder() -> Path:
    """Return the folder of files that are kept between runs: ``~/.local/state/localrun``."""
    folder = _of_linux("XDG_STATE_HOME", ".local/state")
    if folder is None:
        from platformdirs import user_state_path

        return user_state_path(NAME)
    return folder


def log_folder() -> Path:
    """Return the folder of logs: ``~/.local/state/localrun/log``."""
    folder = _of_linux("XDG_STATE_HOME", ".local/state")
    if folder is None:
        from platformdirs import user_log_path

        return user_log_path(NAME)
    return folder / "log"


def _of_linux(variable: str, default: str) -> Path | None:
    """Return a folder if the environment states it plainly, else None."""
    is_linux = sys.platform == "linux" and "ANDROID_DATA" not in os.environ
    named, home = os.environ.get(variable, ""), os.environ.get("HOME", "")
    if is_linux and named.startswith("/"):
        return Path(named, NAME)
    return Path(home, default, NAME) if is_linux and home.startswith("/") else None
