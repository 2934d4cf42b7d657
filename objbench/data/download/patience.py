"""How long a server is waited for: errors that pass and errors that stay, pauses between tries, deadlines."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from objbench.printable import printable

ATTEMPTS = 6  # for a range, counted anew after each byte that arrives
ATTEMPTS_TO_REACH = 3  # for the first answer of a server: without a network nobody should wait for long
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
LONGEST_RETRY_AFTER = 300.0
ANSWER_SECONDS = 60.0  # for a whole small answer, its headers included
LEAST_RATE = 1000.0  # bytes per second; a server that stays below it for RATE_SECONDS is given up
RATE_SECONDS = 300.0
_LONGEST_MESSAGE = 400

T = TypeVar("T")


class ServerError(Exception):
    """What a server did wrong, in one printable line: the words of a server may hold anything."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class PermanentError(ServerError):
    """This address does not give the file, and another try would not help. The message says why, without the address."""


class TransientError(ServerError):
    """A failure that may be gone on the next try.

    Attributes:
        retry_after: Seconds that the server asks to wait, None if it does not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ChangedError(ServerError):
    """The file on the server is no longer the one whose download was started."""


def one_line(text: str) -> str:
    r"""The text as one printable line of limited length.

    >>> one_line("Found\n \x1b[31m red")
    'Found \\x1b[31m red'
    """
    words = " ".join(text[: 2 * _LONGEST_MESSAGE].split())
    shown = printable(words)
    return shown if len(shown) <= _LONGEST_MESSAGE else f"{shown[:_LONGEST_MESSAGE]}..."


def within(action: Callable[[], T], size: int = 0) -> T:
    """The result of `action`; TransientError if it is late, however regularly single bytes arrive.

    It may take ANSWER_SECONDS, and the time of `size` bytes at LEAST_RATE. An action that is late goes on in a daemon thread, and its result is dropped.
    """
    seconds = ANSWER_SECONDS + size / LEAST_RATE
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True, name="download-answer").start()
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():
            raise
        raise TransientError(f"did not finish its answer within {seconds:,.0f} s") from None


class RateWatch:
    """Watches that the bytes of a file arrive at LEAST_RATE or faster."""

    def __init__(self) -> None:
        self._since, self._arrived, self._asked = time.monotonic(), 0, 0.0

    def excuse(self, failure: TransientError) -> None:
        """Do not count the time that the server asked to wait, up to a limit."""
        self._asked = min(self._asked + (failure.retry_after or 0.0), 2 * LONGEST_RETRY_AFTER)

    def check(self, arrived: int) -> None:
        """PermanentError if too few bytes came for RATE_SECONDS. `arrived` counts all bytes so far."""
        seconds = time.monotonic() - self._since
        if seconds < RATE_SECONDS + self._asked:
            return
        new = arrived - self._arrived
        if new < LEAST_RATE * RATE_SECONDS:
            raise PermanentError(f"too slow: {new:,} bytes came in {seconds:,.0f} s")
        self._since, self._arrived, self._asked = time.monotonic(), arrived, 0.0


def pause(seconds: float, stopped: threading.Event) -> None:
    """Wait, at most until `stopped` is set."""
    stopped.wait(seconds)


class Backoff:
    """Exponential backoff: waits after each failure in a row, and gives up after `attempts` of them."""

    def __init__(self, attempts: int, stopped: threading.Event | None = None) -> None:
        self._attempts, self._stopped = attempts, stopped or threading.Event()
        self._failures = 0

    def reset(self) -> None:
        """Forget the failures so far."""
        self._failures = 0

    def wait(self, failure: TransientError) -> None:
        """Wait after `failure`; PermanentError if there were too many."""
        self._failures += 1
        if self._failures >= self._attempts:
            raise PermanentError(f"{failure} ({self._failures} attempts)")
        if failure.retry_after is None:
            wait = min(FIRST_WAIT * 2.0 ** (self._failures - 1), LONGEST_WAIT)
            pause(wait * random.uniform(0.5, 1.0), self._stopped)
        elif failure.retry_after > LONGEST_RETRY_AFTER:
            raise PermanentError(f"{failure} and asks to come back in {failure.retry_after:,.0f} s")
        else:
            pause(failure.retry_after + random.uniform(0.0, FIRST_WAIT), self._stopped)
