"""When a training pauses between two steps: for a signal, or for a checkpoint by time; all processes at the same step."""

from __future__ import annotations

import time

from objbench.ranks.group import Ranks
from objbench.train.interrupt import Interrupts

_ASK_SECONDS = 0.2  # between two agreements of several processes, where steps are shorter


class Pauses:
    """Asked before every step whether the training should stop or save. Alone it looks at signals and clock at once.

    Several processes agree, since signals reach them at different times and clocks differ: at the end of each stretch of
    steps (`settle`) and within it after so many steps as take 0.2 seconds.

    Args:
        ranks: The processes of the training.
        interrupts: The signals of this process.
        seconds: Between two checkpoints.

    Attributes:
        stop: Whether a signal asked to stop, as far as it was agreed.
        save: Whether it is time for a checkpoint, as far as it was agreed.
    """

    def __init__(self, ranks: Ranks, interrupts: Interrupts, seconds: float) -> None:
        self._ranks, self._interrupts, self._seconds = ranks, interrupts, seconds
        self.stop = self.save = False
        self._saved = self._asked = time.perf_counter()
        self._steps = 0  # since the last agreement
        self._next = 1  # steps from that agreement to the next one

    def saved(self) -> None:
        """A checkpoint was written."""
        self._saved, self.save = time.perf_counter(), False

    def look(self) -> None:
        """Before a step: see whether it is time to agree, and do so."""
        if not self._ranks.several or self._steps >= self._next:
            self.settle()
        self._steps += 1

    def settle(self) -> None:
        """Look at signals and clock, and agree."""
        now, interrupts = time.perf_counter(), self._interrupts
        due = now - self._saved >= self._seconds
        if not self._ranks.several:
            self.stop, self.save = interrupts.requested, due
            return
        per_step = (now - self._asked) / max(self._steps, 1)
        ahead = min(max(_ASK_SECONDS / max(per_step, 1e-9), 1), 1000)
        first = self._ranks.first
        asked = [float(interrupts.number), float(interrupts.lost), float(first and due), first * ahead]
        number, lost, save, self._next = (int(value) for value in self._ranks.most(asked))
        interrupts.heard(number, bool(lost))
        self.stop, self.save = bool(number or lost), bool(save)
        self._asked, self._steps = now, 0
