"""`--log`: losses, scores, pictures and the configuration of a run, to all loggers that it has.

They get what metrics.jsonl gets, line by line, and a run that is resumed goes on in the same place with the first line
that is missing there. A logger that fails is left out; it cannot stop or change a training.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from PIL import Image

from objbench.data.scene import Array
from objbench.errors import brief
from objbench.progress import Say
from objbench.spec.datasets import TEST
from objbench.spec.resolve import digest
from objbench.stored import Stored
from objbench.train.logger_kinds import LOGGERS, About, Logger
from objbench.viz import MAX_SAMPLES, sample_sheet

MARKS = "loggers.json"


class Marks(Stored):
    """What the loggers have of a run.

    Attributes:
        id: Of the run, in the loggers.
        configuration: sha256 of its configuration.
        lines: Logger -> how many lines of the log it has; the scores of the finished run count as one more.
    """

    kind: ClassVar[str] = "a note on loggers"

    id: str
    configuration: str
    lines: dict[str, int] = {}


class Loggers:
    """The loggers of one run, opened when there is something for them.

    Args:
        names: Of `LOGGERS`, each once; without any, nothing is done.
        folder: The folder of the run.
        config: The content of its config.json.
        say: Told, once, of each logger that fails.

    Attributes:
        names: As given.
    """

    def __init__(self, names: Iterable[str], folder: Path, config: Mapping[str, Any], say: Say) -> None:
        self.names, self._folder, self._config, self._say = tuple(names), folder, config, say
        self._open: dict[str, Logger] = {}
        self._line = 0  # the next one of the log
        self._step, self._first = -1, 0  # of the last line, and the first line of that step
        self._samples: Mapping[str, Array] = {}
        self._marks: Marks | None = None

    @property
    def n_samples(self) -> int:
        """How many samples a validation should keep for pictures."""
        return MAX_SAMPLES if self.names else 0

    def begin(self, lines: Iterable[Mapping[str, Any]] = ()) -> None:
        """Open the loggers, and send what they lack of the log, whose lines so far these are."""
        for name in self.names:
            with self._guarded(name):
                self._begin(name)
        for line in lines:
            self.write(line["step"], *next((kind, line[kind]) for kind in ("losses", "val") if kind in line))

    def picture(self, samples: Mapping[str, Array]) -> None:
        """Keep samples of a validation for a picture beside its scores, which come next."""
        self._samples = samples

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Send the next line of the log: "losses", or "val" with a picture if there are samples of it."""
        samples, self._samples = (self._samples, {}) if kind == "val" else ({}, self._samples)
        self._send(step, kind, {f"{kind}/{name}": value for name, value in values.items()}, samples)

    def end(self, step: int, scores: Mapping[str, Mapping[str, float]], samples: Mapping[str, Array]) -> None:
        """Send the scores of the finished run, evaluation -> metric -> mean, and a picture of samples."""
        values = {f"{key}/{name}": value for key, means in scores.items() for name, value in means.items()}
        self._send(step, TEST, values, samples)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for name, logger in list(self._open.items()):
            with self._guarded(name):
                logger.close(kind is None)
                self._mark(name, self._line)

    def _begin(self, name: str) -> None:
        marks = self._read_marks()
        group = "{2} {0} {1}".format(*self._folder.parts[-4:-1])
        about = About(
            f"{group} {self._folder.name}",
            group,
            self._config,
            self._folder,
            marks.id,
            name not in marks.lines,
        )
        self._open[name] = LOGGERS[name](about)
        self._mark(name, 0)

    def _send(self, step: int, kind: str, values: Mapping[str, float], samples: Mapping[str, Array]) -> None:
        """Send one line to the loggers that lack it."""
        line, self._line = self._line, self._line + 1
        if step != self._step:
            self._step, self._first = step, line
        pictures: dict[str, Image.Image] = {}
        for name, logger in list(self._open.items()):
            with self._guarded(name):
                if line < self._read_marks().lines[name]:
                    continue
                if samples and not pictures:
                    pictures[f"{kind}/samples"] = sample_sheet(samples)
                logger.write(step, values, pictures)
                self._mark(name, self._first if logger.late else line + 1)

    def _read_marks(self) -> Marks:
        """What the loggers have; of another configuration, of which nothing came, they have nothing."""
        if self._marks is None:
            found, now = Marks.read_if_valid(self._folder / MARKS), digest(self._config)
            if found is None or found.configuration != now:
                found = Marks(id=uuid.uuid4().hex[:8], configuration=now)
            self._marks = found
        return self._marks

    def _mark(self, name: str, lines: int) -> None:
        marks = self._read_marks()
        lines = max(lines, marks.lines.get(name, 0))
        self._marks = marks.model_copy(update={"lines": marks.lines | {name: lines}})
        path = self._folder / MARKS
        unfinished = path.with_name(f"{MARKS}.partial")
        unfinished.write_text(self._marks.model_dump_json())
        unfinished.replace(path)  # not synced, which would cost more than the steps between two lines

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """What is done with a logger; if it fails, say so and do without it."""
        try:
            yield
        except Exception as error:
            self._open.pop(name, None)
            self._say(
                f"--log {name}: {brief(error)}; the run goes on without it, metrics.jsonl has its numbers"
            )
