"""``localrun serve``."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from localrun.cli.completion import complete_model
from localrun.cli.options import DeviceOption, DraftOption, WorkerOption


def serve(  # noqa: PLR0913 - one parameter a flag
    *,
    host: Annotated[
        str | None,
        Option(help="Address to listen on, such as 127.0.0.1:8080 (env: LOCALRUN_HOST)."),
    ] = None,
    device: DeviceOption = None,
    draft: DraftOption = None,
    worker: WorkerOption = None,
    api_key_file: Annotated[
        str | None,
        Option(help="File of API keys: one name and key per line."),
    ] = None,
    tls_cert: Annotated[
        str | None, Option(help="TLS certificate (PEM); enables HTTPS (env: LOCALRUN_TLS_CERT).")
    ] = None,
    tls_key: Annotated[
        str | None,
        Option(help="Key of the certificate if not in its file (env: LOCALRUN_TLS_KEY)."),
    ] = None,
    load: Annotated[
        str | None,
        Option(
            metavar="MODEL",
            help="Load a model at the start and keep it; /readyz waits for it.",
            autocompletion=complete_model,
        ),
    ] = None,
    log_prompts: Annotated[
        bool, Option("--log-prompts", help="Write prompts and answers to the log.")
    ] = False,
    no_web: Annotated[
        bool, Option("--no-web", help="Serve no chat page (env: LOCALRUN_NO_WEB).")
    ] = False,
    insecure: Annotated[
        bool, Option("--insecure", help="Allow other machines to connect without an API key.")
    ] = False,
) -> None:
    """Start the server in the foreground; Ctrl-C stops it.

    OpenAI's API is at http://127.0.0.1:11435/v1, Ollama's and Anthropic's at
    http://127.0.0.1:11435, and so is the chat page: `localrun open`.

    Clients on other machines need an API key: set LOCALRUN_API_KEY or use
    --api-key-file.

    All settings of the server, such as the context length, are environment
    variables: `localrun help server` lists them.

    Example: localrun serve
    """
    import os

    from localrun.cli.internal.warm import start
    from localrun.server.core.early_load import EarlyLoad
    from localrun.server.start import run_server
    from localrun.services.drafting.setting import check_setting
    from localrun.settings import load_settings

    flags = {
        "LOCALRUN_HOST": host,
        "LOCALRUN_DEVICE": device,
        "LOCALRUN_DRAFT": draft,
        "LOCALRUN_WORKERS": "\n".join(worker or ()),
        "LOCALRUN_API_KEY_FILE": api_key_file,
        "LOCALRUN_TLS_CERT": tls_cert,
        "LOCALRUN_TLS_KEY": tls_key,
        "LOCALRUN_LOG_PROMPTS": "1" if log_prompts else None,
        "LOCALRUN_NO_WEB": "1" if no_web else None,
    }
    settings = load_settings(os.environ, flags)
    if draft is not None:
        check_setting(settings, os.environ)
    early = None if load is None else EarlyLoad(name=load, is_kept=True)
    run_server(settings, background=False, insecure=insecure, start_warm=start, early=early)
