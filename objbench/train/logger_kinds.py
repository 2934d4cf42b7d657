"""The loggers of `--log`: TensorBoard, trackio and Weights & Biases, each opened for one run and told of it alike.

A package is imported when its logger is opened.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from PIL import Image

from objbench.errors import RequestError, unknown_name

PROJECT = "objbench"
_WAIT_SECONDS = 10  # for a server, at the start and at the end of a run


class About(NamedTuple):
    """What a logger is told of a run.

    Attributes:
        name: Of the run: method, dataset, source and seed.
        group: The same without the seed.
        config: Everything that can change its result, and its seed.
        folder: The folder of the run.
        id: Of this run alone, even among those of the same name.
        new: Whether the logger has nothing of it yet.
    """

    name: str
    group: str
    config: Mapping[str, Any]
    folder: Path
    id: str
    new: bool


class Logger(ABC):
    """One of the loggers, opened for one run.

    Attributes:
        late: Whether it keeps what belongs to a step to itself until a later step comes or it is closed.
    """

    late: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, about: About) -> None: ...

    @abstractmethod
    def write(self, step: int, values: Mapping[str, float], pictures: Mapping[str, Image.Image]) -> None:
        """Take what belongs to this step."""

    @abstractmethod
    def close(self, finished: bool) -> None:
        """Send what is left."""


class TensorBoard(Logger):
    """Event files in the folder `tensorboard` of the run."""

    def __init__(self, about: About) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = about.folder / "tensorboard"
        if about.new:
            shutil.rmtree(folder, ignore_errors=True)
        self._writer: Any = SummaryWriter(str(folder))
        if about.new:
            text = json.dumps(dict(about.config), indent=1)
            self._writer.add_text("configuration", f"{about.name}\n```json\n{text}\n```", 0)

    def write(self, step: int, values: Mapping[str, float], pictures: Mapping[str, Image.Image]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        for name, picture in pictures.items():
            self._writer.add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")
        self._writer.flush()

    def close(self, finished: bool) -> None:
        self._writer.close()


class Trackio(Logger):
    """A run of trackio's project `objbench`, on this machine unless trackio's own variables name a server."""

    def __init__(self, about: About) -> None:
        import trackio

        self._trackio: Any = trackio
        with _silent_stdout():
            trackio.init(
                project=PROJECT,
                name=f"{about.name} {about.id}",  # trackio finds a run by its name
                group=about.group,
                config=dict(about.config),
                resume="never" if about.new else "allow",
                embed=False,
            )

    def write(self, step: int, values: Mapping[str, float], pictures: Mapping[str, Image.Image]) -> None:
        shown = {name: self._trackio.Image(picture) for name, picture in pictures.items()}
        self._trackio.log({**values, **shown}, step=step)

    def close(self, finished: bool) -> None:
        with _silent_stdout():
            self._trackio.finish()


class Wandb(Logger):
    """A run of Weights & Biases, of the project `objbench` unless WANDB_PROJECT names another one.

    Without a login nobody is asked for one: the run is kept in its folder, for `wandb sync`.
    """

    late = True

    def __init__(self, about: About) -> None:
        import wandb

        with _silent_stdout():
            known = "WANDB_MODE" in os.environ or wandb.login(prompt=False, verify=False)
            self._run: Any = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                id=about.id,
                name=about.name,
                group=about.group,
                config=dict(about.config),
                dir=os.environ.get("WANDB_DIR", str(about.folder)),
                mode=None if known else "offline",
                resume=None if about.new else "allow",
                reinit="finish_previous",
                settings=wandb.Settings(
                    console="off", init_timeout=_WAIT_SECONDS, finish_timeout=_WAIT_SECONDS, quiet=True
                ),
            )
        self._image: Any = wandb.Image

    def write(self, step: int, values: Mapping[str, float], pictures: Mapping[str, Image.Image]) -> None:
        shown = {name: self._image(picture) for name, picture in pictures.items()}
        self._run.log({**values, **shown}, step=step)

    def close(self, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """Send to stderr what is written to stdout in this block, by processes that it starts even later: results go there."""
    sys.stdout.flush()
    before = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(before, 1)
        os.close(before)


LOGGERS: dict[str, type[Logger]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": Wandb,
}


def check_loggers(names: Iterable[str]) -> None:
    """Refuse an unknown logger, and one whose package is not installed; none is imported.

    Raises:
        RequestError: There is one.
    """
    for name in names:
        if name not in LOGGERS:
            raise unknown_name("logger", name, LOGGERS)
        found = find_spec(name)
        if found is None or found.origin is None:  # a folder of that name is no package
            raise RequestError(f"--log {name} needs the package {name}: pip install 'objbench[{name}]'")
