"""Settings of a process: the ``LOCALRUN_*`` variables as one frozen object.

Owns the names and formats of the variables. No module below reads the environment itself.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from localrun.access import Access, expanded_path, load_access
from localrun.errors import UsageError
from localrun.folders import cache_folder, config_folder, data_folder, log_folder
from localrun.load_rules import LoadRules, read_load_rules
from localrun.variables import (
    NO,
    YES,
    read_choice,
    read_count,
    read_duration,
    read_size,
    read_switch,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

PREFIX = "LOCALRUN_"
FLAGS = {"LOCALRUN_WORKERS": "--worker"}  # that are not named after their variable
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 11435
HTTPS_PORT = 443
DEFAULT_IDLE_EXIT_S = 600.0
DEFAULT_KEEP_ALIVE_S = 300.0
DEFAULT_REMOTE_TIMEOUT_S = 600.0
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
DEFAULT_STREAMS = 4
DEFAULT_QUEUE = 512
LARGEST_QUEUE = 100_000
DEFAULT_DRAIN_S = 5.0
DEBUG_LEVELS = ("0", "1", "2")
MAX_STREAMS = 32
LARGEST_PORT = 65535
PROMPTS = "prompts"  # in the cache folder
MODELS = "models"  # in the data folder
AUTO, NONE = "auto", "none"  # as names of a draft model
PRIVATE_HOST = re.compile(r"([\w.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one process; times in seconds, None means forever."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    idle_exit_s: float | None = DEFAULT_IDLE_EXIT_S
    keep_alive_s: float | None = DEFAULT_KEEP_ALIVE_S
    log_dir: Path
    models_dir: Path = field(default_factory=lambda: data_folder() / MODELS)
    extra_models: tuple[Path, ...] = ()  # read-only stores that are searched too
    catalogs: tuple[Path, ...] = ()  # merged into the package's catalog, later ones win
    mirrors: tuple[str, ...] = ()  # endpoints with the same content as Hugging Face
    num_streams: int = DEFAULT_STREAMS  # connections of one download
    is_offline: bool = False
    remote_timeout_s: float | None = DEFAULT_REMOTE_TIMEOUT_S  # silence of a remote model's engine
    private_hosts: (
        tuple[str, ...] | None
    ) = ()  # private hosts that clients may pull from; None: all
    fetched_hosts: tuple[str, ...] = ()  # clients may name files there by address; "1": all
    prompts_dir: Path = field(default_factory=lambda: cache_folder() / PROMPTS)
    prompt_cache_bytes: int | None = None  # of all saved prompts; None: depends on the disk
    device: str = "auto"  # device choice, see hardware/choice.py
    draft: str = AUTO  # draft model: "auto", "none", or a model's name
    workers: tuple[str, ...] = ()  # commands that start workers, see workers/command.py
    max_queue: int = DEFAULT_QUEUE  # size of the request queue
    drain_s: float | None = DEFAULT_DRAIN_S  # for open answers at shutdown
    memory_bytes: int | None = None  # RAM for all models; None: all of it
    loads: LoadRules = field(default_factory=LoadRules)
    has_page: bool = True  # the server answers browsers with the chat page
    debug: int = 0  # 1: debug lines in the server's log, 2: those of llama.cpp as well
    sources: tuple[
        tuple[str, str], ...
    ] = ()  # provenance of each variable that is set; later ones win

    @property
    def needs_file(self) -> Path:
        """Return the file that records models which needed more memory than planned."""
        return self.prompts_dir.parent / "needs.json"

    @property
    def index_dir(self) -> Path:
        """Return the folder of the indexes of stores."""
        return self.prompts_dir.parent / "index"

    @property
    def notices_dir(self) -> Path:
        """Return the folder that records which notices were shown."""
        return self.prompts_dir.parent / "notices"

    access: Access = field(default_factory=Access)
    is_tls: bool = False  # the address is https

    def source_of(self, variable: str) -> str:
        """Return the provenance of a variable: a flag, the environment, or the default."""
        return dict(self.sources).get(variable, "default")

    def by_flag(self, variable: str, **changes: Any) -> Settings:  # noqa: ANN401 - of any field
        """Return the settings with the value of a flag instead of a variable."""
        sources = (*self.sources, (variable, _flag_of(variable)))
        return replace(self, sources=sources, **changes)

    @property
    def is_loopback(self) -> bool:
        """Return whether only programs on this machine can reach the address."""
        return self.host in LOOPBACK_HOSTS

    @property
    def address(self) -> str:
        """Return ``host:port`` as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the server's URL for clients."""
        return f"{'https' if self.is_tls else 'http'}://{self.address}"


def load_settings(
    environ: Mapping[str, str], flags: Mapping[str, str | None] | None = None
) -> Settings:
    """Read the settings from the environment; ``flags`` override it, by variable name.

    Raises:
        UsageError: a variable is malformed; the error names it.
    """
    given = {name: value for name, value in (flags or {}).items() if value}
    environ = {**environ, **given}
    host, port = parse_address(environ.get("LOCALRUN_HOST", ""))
    log_dir = environ.get("LOCALRUN_LOG_DIR")
    access = load_access(environ)
    return Settings(
        host=host,
        port=port,
        idle_exit_s=read_duration(environ, "LOCALRUN_IDLE_EXIT", DEFAULT_IDLE_EXIT_S),
        keep_alive_s=read_duration(environ, "LOCALRUN_KEEP_ALIVE", DEFAULT_KEEP_ALIVE_S),
        log_dir=Path(log_dir) if log_dir else log_folder(),
        models_dir=_models_dir(environ),
        extra_models=_paths(environ, "LOCALRUN_EXTRA_MODELS"),
        catalogs=_catalogs(environ),
        mirrors=_mirrors(environ),
        num_streams=read_count(environ, "LOCALRUN_STREAMS", DEFAULT_STREAMS, MAX_STREAMS),
        is_offline=read_switch(environ, "LOCALRUN_OFFLINE"),
        remote_timeout_s=read_duration(
            environ, "LOCALRUN_REMOTE_TIMEOUT", DEFAULT_REMOTE_TIMEOUT_S
        ),
        private_hosts=_private_hosts(environ),
        fetched_hosts=_fetched_hosts(environ),
        prompts_dir=_cache_dir(environ) / PROMPTS,
        prompt_cache_bytes=read_size(environ, "LOCALRUN_PROMPT_CACHE"),
        max_queue=read_count(environ, "LOCALRUN_MAX_QUEUE", DEFAULT_QUEUE, LARGEST_QUEUE),
        drain_s=read_duration(environ, "LOCALRUN_DRAIN", DEFAULT_DRAIN_S),
        memory_bytes=read_size(environ, "LOCALRUN_MEMORY"),
        loads=read_load_rules(environ),
        has_page=not read_switch(environ, "LOCALRUN_NO_WEB"),
        debug=_debug(environ),
        device=environ.get("LOCALRUN_DEVICE", "").strip().lower() or "auto",
        draft=_draft(environ),
        workers=tuple(environ.get("LOCALRUN_WORKERS", "").splitlines()),
        access=access,
        is_tls=_is_https(environ.get("LOCALRUN_HOST", "")) or access.tls_cert is not None,
        sources=tuple(_sources(environ, given)),
    )


def _sources(environ: Mapping[str, str], given: Container[str]) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        if name.startswith(PREFIX) and value.strip():
            yield name, _flag_of(name) if name in given else f"environment {name}"


def _flag_of(variable: str) -> str:
    if variable in FLAGS:
        return f"flag {FLAGS[variable]}"
    return f"flag --{variable.removeprefix(PREFIX).lower().replace('_', '-')}"


def parse_address(text: str) -> tuple[str, int]:
    """Split ``host``, ``host:port``, ``:port``, ``[::1]:port`` or a URL into host and port.

    Raises:
        UsageError: the text is not an address.
    """
    trimmed = text.strip().strip("\"'")
    if trimmed.count(":") > 1 and "[" not in trimmed and "//" not in trimmed:
        trimmed = f"[{trimmed}]"  # a bare IPv6 address
    try:
        parts = urlsplit(trimmed if "//" in trimmed else f"//{trimmed}")
        default = HTTPS_PORT if parts.scheme == "https" else DEFAULT_PORT
        port = default if parts.port is None else parts.port
    except ValueError:
        port = -1
        parts = urlsplit("")
    if not 0 <= port <= LARGEST_PORT or parts.scheme not in {"", "http", "https"}:
        raise UsageError(
            f"LOCALRUN_HOST is not an address: {text}", hint="LOCALRUN_HOST=127.0.0.1:11435"
        )
    return parts.hostname or DEFAULT_HOST, port


def _is_https(text: str) -> bool:
    return text.strip().strip("\"'").lower().startswith("https://")


def _debug(environ: Mapping[str, str]) -> int:
    text = environ.get("LOCALRUN_DEBUG", "").strip().lower()
    if text in YES | NO:
        return int(text in YES)
    return int(read_choice(environ, "LOCALRUN_DEBUG", DEBUG_LEVELS) or 0)


def _draft(environ: Mapping[str, str]) -> str:
    text = environ.get("LOCALRUN_DRAFT", "").strip()
    return text.lower() if text.lower() in {AUTO, NONE} else text or AUTO


def _models_dir(environ: Mapping[str, str]) -> Path:
    named = environ.get("LOCALRUN_MODELS")
    return expanded_path("LOCALRUN_MODELS", named) if named else data_folder() / MODELS


def _paths(environ: Mapping[str, str], name: str) -> tuple[Path, ...]:
    texts = environ.get(name, "").split(os.pathsep)
    return tuple(expanded_path(name, text) for text in texts if text)


def _catalogs(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the user's own catalog, if it exists, and the named ones."""
    own = config_folder() / "catalog.toml"
    return (*([own] if own.is_file() else []), *_paths(environ, "LOCALRUN_CATALOG"))


def _mirrors(environ: Mapping[str, str]) -> tuple[str, ...]:
    mirrors = tuple(environ.get("LOCALRUN_MIRRORS", "").replace(",", " ").split())
    for mirror in mirrors:
        if not mirror.startswith(("http://", "https://")):
            raise UsageError(
                f"LOCALRUN_MIRRORS: not an address: {mirror}",
                hint="LOCALRUN_MIRRORS=https://hf-mirror.com",
            )
    return tuple(mirror.rstrip("/") for mirror in mirrors)


def _private_hosts(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return host or host:port entries; None allows all private hosts."""
    text = environ.get("LOCALRUN_PULL_PRIVATE", "").strip().lower()
    if text in YES | NO:
        return None if text in YES else ()
    hosts = tuple(text.replace(",", " ").split())
    for host in hosts:
        if not PRIVATE_HOST.fullmatch(host):
            raise UsageError(
                f"LOCALRUN_PULL_PRIVATE must be 1, 0 or a list of hosts, not {host}",
                hint="LOCALRUN_PULL_PRIVATE=localhost:5000,registry.lan",
            )
    return hosts


def _fetched_hosts(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return host, host:port and *.host entries; "1" allows all public hosts."""
    text = environ.get("LOCALRUN_FETCH_IMAGES", "").strip().lower()
    if text in YES | NO:
        return ("1",) if text in YES else ()
    hosts = tuple(text.replace(",", " ").split())
    for host in hosts:
        if not PRIVATE_HOST.fullmatch(host.removeprefix("*.")):
            raise UsageError(
                f"LOCALRUN_FETCH_IMAGES must be 1, 0 or a list of hosts, not {host}",
                hint="LOCALRUN_FETCH_IMAGES=images.example.com,*.wikimedia.org",
            )
    return tuple(host.replace("[", "").replace("]", "") for host in hosts)


def _cache_dir(environ: Mapping[str, str]) -> Path:
    named = environ.get("LOCALRUN_CACHE")
    return expanded_path("LOCALRUN_CACHE", named) if named else cache_folder()
