"""Start of a worker: llama.cpp's libraries, the log, and the program."""

from __future__ import annotations

# As for runners, but the threads spin for 4 us only: between two tokens, the processors are for
# those who carry the bytes. Spinning for 4 ms, two workers on one machine are three times slower.
WORKER_ENVIRONMENT = {"GGML_NO_BACKTRACE": "1", "GOMP_SPINCOUNT": "100"}


def start_worker(device: str, memory_bytes: int | None, threads: int | None) -> None:
    """Run a worker until its client leaves; does not return.

    Raises:
        UsageError: there is no such device.
        BackendError: llama.cpp cannot serve.
    """
    import os

    from localrun.engine.llama.cuda_libraries import explained, prepare
    from localrun.workers.isolation import give_up_network

    network_note = give_up_network()  # before any thread starts
    for name, value in WORKER_ENVIRONMENT.items():  # before llama.cpp's libraries read it
        os.environ.setdefault(name, value)
    prepare()
    try:
        from localrun.engine.llama.binding import load_binding

        load_binding()
        from localrun.workers.program import WorkerOptions, run_worker
    except (ImportError, OSError, RuntimeError) as error:  # a library of llama.cpp is missing
        raise explained(error, os.environ) from error
    options = WorkerOptions(
        device=device, memory_bytes=memory_bytes, threads=threads, network_note=network_note
    )
    run_worker(options)
