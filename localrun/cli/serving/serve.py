"""``localrun serve``."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from localrun.cli.options import AskedDevice


def serve(  # noqa: PLR0913 - one parameter a flag
    *,
    host: Annotated[
        str | None,
        Option(help="Address to listen on, such as 127.0.0.1:8080. [env: LOCALRUN_HOST]"),
    ] = None,
    device: AskedDevice = None,
    api_key_file: Annotated[
        str | None,
        Option(help="File of the keys to ask for: a name and a key a line."),
    ] = None,
    tls_cert: Annotated[
        str | None, Option(help="Certificate (PEM) to speak HTTPS with. [env: LOCALRUN_TLS_CERT]")
    ] = None,
    tls_key: Annotated[
        str | None, Option(help="Its key, where that is another file. [env: LOCALRUN_TLS_KEY]")
    ] = None,
    log_prompts: Annotated[
        bool, Option("--log-prompts", help="Write prompts and answers into the log.")
    ] = False,
    insecure: Annotated[
        bool, Option("--insecure", help="Let other machines in although no key is asked for.")
    ] = False,
    background: Annotated[bool, Option("--background", hidden=True)] = False,
) -> None:
    """Start the server in this terminal; Ctrl-C ends it.

    Programs that speak OpenAI's API find it at http://127.0.0.1:11435/v1, those that know Ollama at
    http://127.0.0.1:11435.

    Other machines get in by a key, which LOCALRUN_API_KEY or --api-key-file tells.

    Example: localrun serve
    """
    import os

    from localrun.server.run import run_server
    from localrun.settings import load_settings

    asked = {
        "LOCALRUN_HOST": host,
        "LOCALRUN_DEVICE": device,
        "LOCALRUN_API_KEY_FILE": api_key_file,
        "LOCALRUN_TLS_CERT": tls_cert,
        "LOCALRUN_TLS_KEY": tls_key,
        "LOCALRUN_LOG_PROMPTS": "1" if log_prompts else None,
    }
    settings = load_settings(os.environ, asked)
    run_server(settings, background=background, insecure=insecure)
