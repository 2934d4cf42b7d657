"""Signals that ask a command to stop: at once, or after the current step within a training."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from objbench.errors import ObjbenchError

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGUSR2: 75}


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to stop.

    Attributes:
        exit_code: The exit code for this signal.
        step: The step from which the same command continues the training; None if nothing was being trained.
    """

    def __init__(self, number: signal.Signals, message: str, step: int | None = None) -> None:
        super().__init__(message)
        self.exit_code, self.step = EXIT_CODES[number], step


class Interrupts:
    """The signals of `EXIT_CODES` as the exception `Interrupted`.

    It is raised at once, except within `deferred`, where `requested` says that a signal came. A second SIGINT raises
    KeyboardInterrupt at once, wherever it comes.

    Attributes:
        work: What is being trained, for the message: "seed 3".
        step: The step from which the same command continues it, which the training sets; None outside of one.
        lost: Whether another host took over what this process works on; then nothing may be written any more.
        advice: What the message says then: how the work that a signal stops can be continued.
    """

    def __init__(self) -> None:
        self.work, self.advice = "the run", ""
        self.step: int | None = None
        self.lost = False
        self._signal: signal.Signals | None = None
        self._deferring = False
        self._process = os.getpid()

    @contextmanager
    def catch(self) -> Iterator[None]:
        """Handle the signals in this block, which does nothing outside the main thread.

        Signals that the process ignores, as under nohup, stay ignored.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        caught = [number for number in EXIT_CODES if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._handle) for number in caught}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def training(self, work: str) -> Iterator[None]:
        """Messages of this block tell from which step `work` goes on; a loss of earlier work is forgotten."""
        self.work, self.step, self.lost = work, 0, False
        try:
            yield
        except Exception:
            self.check()  # libraries may have turned a signal's exception into one of their own
            raise
        finally:
            self.step = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked child must end as it would without this handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self._signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        elif self._signal is None:
            self._signal = signal.Signals(number)
            if not self._deferring:
                self.check()

    @property
    def requested(self) -> bool:
        """Whether a signal, or the loss of the work, asked to stop."""
        return self._signal is not None or self.lost

    @property
    def number(self) -> int:
        """The signal that came; 0 if none did."""
        return self._signal or 0

    def heard(self, number: int, lost: bool) -> None:
        """Take over what came to another process of the same run: a signal (0 for none), the loss of the work."""
        if number and self._signal is None:
            self._signal = signal.Signals(number)
        self.lost = self.lost or lost

    def check(self) -> None:
        """Raise Interrupted if a signal came, ObjbenchError if another host took the work over."""
        self.refuse_if_lost()
        if self._signal is not None:
            advice = self.advice
            if self.step is not None:
                advice = f"the same command goes on from step {self.step} of {self.work}"
            message = f"interrupted by {self._signal.name}"
            raise Interrupted(self._signal, f"{message}; {advice}" if advice else message, self.step)

    def lose(self) -> None:
        """Note, from any thread, that another host took the work over."""
        self.lost = True

    def refuse_if_lost(self) -> None:
        """Raise ObjbenchError if another host took the work over."""
        if self.lost:
            raise ObjbenchError(
                f"{self.work}: this process stood still so long that another one took the run over; nothing more is "
                "written here"
            )

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note a signal that comes within this block, and raise Interrupted at its end."""
        with self._mode(deferring=True):
            yield
        if not self._deferring:
            self.check()

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """Raise Interrupted at once, also for a signal that was noted before this block."""
        with self._mode(deferring=False):
            self.check()
            yield

    @contextmanager
    def _mode(self, deferring: bool) -> Iterator[None]:
        before, self._deferring = self._deferring, deferring
        try:
            yield
        finally:
            self._deferring = before
