"""Worker processes that encode and decode shards: quick to start, results in order, none left behind."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from typing import IO, Any

from objbench.error_line import ElsewhereError
from objbench.errors import ObjbenchError, is_out_of_memory

AHEAD = 2  # jobs per worker that may wait for the consumer


def available() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(function: str, jobs: Iterable[Any], workers: int) -> Iterator[Any]:
    """The results of `function` ("module:name") on `jobs`, in order, from that many processes.

    At most AHEAD + 1 jobs per worker are in flight, results that wait for the consumer included. One worker is this
    process. An error in a job is raised here. Then, on Ctrl-C, and when the consumer stops, all processes are killed.

    The processes are plain interpreters that import only the module of `function`. Those of `multiprocessing` also
    import the caller's main module, and torch with it; in a script without an `if __name__ == "__main__"` guard they
    would start themselves again and again. joblib has no such faults, but does not bound the results that wait, and
    prepares a fifth to a third fewer scenes per second.
    """
    if workers <= 1:
        call = _resolve(function)
        for job in jobs:
            yield call(job)
        return
    processes = [_start(function) for _ in range(workers)]
    idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
    for process in processes:
        idle.put(process)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="objbench-worker")
    pending: deque[Future[Any]] = deque()
    try:
        for job in jobs:
            pending.append(pool.submit(_remote, idle, job))
            if len(pending) > workers * (AHEAD + 1):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        for process in processes:
            process.kill()
        pool.shutdown(wait=True)
        for process in processes:
            _close(process)


def _start(function: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "objbench.data.workers", function]
    return subprocess.Popen(  # in a process group of its own, so that Ctrl-C reaches only this process
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, process_group=0
    )


def _close(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it died while a job was sent
        process.stdin.close()
    process.stdout.close()
    process.wait()


def _remote(idle: queue.SimpleQueue[subprocess.Popen[bytes]], job: Any) -> Any:
    process = idle.get()
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        pickle.dump(job, process.stdin, protocol=5)
        process.stdin.flush()
        result, error = pickle.load(process.stdout)
    except (OSError, EOFError, pickle.UnpicklingError):
        raise ObjbenchError(
            f"a worker process ended unexpectedly (exit code {process.wait()}); "
            "out of memory? --workers 1 does the work in one process"
        ) from None
    finally:
        idle.put(process)
    if error is not None:
        raise error
    return result


def _resolve(function: str) -> Any:
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)


def _serve(function: str, jobs: IO[bytes], results: IO[bytes]) -> None:
    """Answer each pickled job with (result, None) or (None, error), until there are no more.

    A parent that ends closes both pipes, maybe in the middle of a job. The worker then leaves without a word.
    """
    call = _resolve(function)
    while True:
        try:
            job = pickle.load(jobs)
        except (EOFError, pickle.UnpicklingError):
            return
        answer: tuple[Any, Exception | None]
        try:
            answer = (call(job), None)
        except Exception as error:
            answer = (None, _told(error))
        pickle.dump(answer, results, protocol=5)
        results.flush()


def _told(error: Exception) -> Exception:
    """An error as the parent is told of it."""
    if is_out_of_memory(error):
        return ObjbenchError("a worker process is out of memory; a smaller --workers needs less")
    if isinstance(error, ObjbenchError | OSError):
        return error
    return ElsewhereError.of(error, "in a worker process")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends the process without a traceback
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    try:
        _serve(sys.argv[1], sys.stdin.buffer, results)
    except BrokenPipeError:
        os._exit(1)  # without flushing to the closed pipe
