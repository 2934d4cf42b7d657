"""When something happens in a training besides steps: logging, validation, checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from objbench.spec.settings import Recipe


@dataclass(frozen=True)
class Events:
    """The steps, counted over all stages, after which something happens besides training."""

    total: int
    recipe: Recipe

    def logs(self, step: int) -> bool:
        """Whether losses are logged: every `log_steps`, and at the end."""
        return step % self.recipe.log_steps == 0 or step == self.total

    def checkpoints(self, step: int) -> bool:
        """Whether a checkpoint is due: every `checkpoint_steps`. The end of a stage is another one.

        `checkpoint_minutes` adds more between them, which change nothing else.
        """
        return step % self.recipe.checkpoint_steps == 0

    def evaluates(self, step: int) -> bool:
        """Whether a validation is due: `evaluations` times, evenly spaced, the last time at the end."""
        return self._rank(step) > self._rank(step - 1)

    def _rank(self, step: int) -> int:
        return step * self.recipe.evaluations // self.total

    def next(self, step: int) -> int:
        """The first step after `step` at which something happens."""
        r = self.recipe
        events = [self.total, *((step // every + 1) * every for every in (r.log_steps, r.checkpoint_steps))]
        if r.evaluations:
            events.append(-(-(self._rank(step) + 1) * self.total // r.evaluations))
        return min(events)
