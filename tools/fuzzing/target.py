"""A target: an input of objbench, how a sound one is made, and what a trial does to it."""

from __future__ import annotations

import hashlib
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from typer.testing import CliRunner

from fuzzing.mutations import damage_bytes, damage_text
from fuzzing.outcome import CommandError, Reading, Result, judge_error, judge_reading


class Target(ABC):
    """What is tried. `begin` makes it sound; after that each call of `trial` stands alone.

    Attributes:
        name: For --only and the table.
        what: What is read or killed, in a few words.
        cost: How many trials of a damaged file one trial is worth.
        limit: Seconds after which a trial hangs.
    """

    name: str
    what: str
    cost: int = 1
    limit: float = 30.0

    @abstractmethod
    def begin(self, folder: Path) -> None:
        """Make the sound input in `folder`, or take the one that is there."""

    @abstractmethod
    def trial(self, random: Random) -> Result:
        """One trial, which depends on `random` alone."""


@dataclass
class FileTarget(Target):
    """Files of which one is damaged before they are read.

    Attributes:
        build: Writes the sound files into a folder.
        read: Reads such a folder.
        victims: Patterns of the files that are damaged, relative to the folder.
        texts: Patterns of those that hold text.
        unchecked: Patterns of those whose format has no checksum of what the reader gives.
        subjects: What an error may name in place of the file: names of folders or archives that hold it.
    """

    name: str
    what: str
    build: Callable[[Path], None]
    read: Callable[[Path], Reading]
    victims: tuple[str, ...]
    texts: tuple[str, ...] = ("*.json", "*.jsonl", "*.yaml", "*.txt")
    unchecked: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    limit: float = 30.0

    def begin(self, folder: Path) -> None:
        """Build the files, and read them once while they are sound."""
        sound, self._work = folder / "sound", folder / "work"
        if not sound.exists():
            fresh = folder / "fresh"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            self.build(fresh)
            fresh.rename(sound)
        paths = [path for path in sorted(sound.rglob("*")) if path.is_file() and path.suffix != ".lock"]
        self._files = {str(path.relative_to(sound)): path.read_bytes() for path in paths}
        self._times = {str(path.relative_to(sound)): path.stat().st_mtime_ns for path in paths}
        self._victims = [name for name in self._files if _matches(name, self.victims) and self._files[name]]
        if not self._victims:
            raise ValueError(f"{self.name}: none of {self.victims} among {sorted(self._files)}")
        self._restore()
        self._good = self.read(self._work)

    def trial(self, random: Random) -> Result:
        """Damage one file, read all of them, and judge."""
        victim = random.choice(self._victims)
        damage = damage_text if _matches(victim, self.texts) else damage_bytes
        self._restore()
        path = self._work / victim
        path.write_bytes(damage(self._files[victim], random))
        os.utime(path, ns=(self._times[victim], self._times[victim]))  # as a failing disk leaves it
        names = (path.name, *self.subjects)
        try:
            reading = self.read(self._work)
        except Exception as error:
            result = judge_error(error, self._work, names)
        else:
            checked = not _matches(victim, self.unchecked)
            result = judge_reading(reading, self._good, names, checked)
        return Result(result.outcome, f"{victim}: {result.detail}" if result.detail else victim)

    def _restore(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
        for name, content in self._files.items():
            path = self._work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            os.utime(path, ns=(self._times[name], self._times[name]))


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def call(*arguments: object) -> Reading:
    """Run a command of objbench in this process: what it prints and says; CommandError if it fails."""
    from objbench.cli.main import app

    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code != 0:
        raise CommandError(result.exit_code, f"{result.stdout}{result.stderr}")
    return Reading(result.stdout, result.stderr)


def digest(*parts: Any) -> str:
    """A hash of arrays, tensors, bytes, anything that prints as it is, and dicts and lists of these."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(_bytes_of(part) + b"|")
    return sha.hexdigest()[:16]


def _bytes_of(part: Any) -> bytes:
    if isinstance(part, bytes):
        return part
    if isinstance(part, dict):
        return digest(*(piece for key in sorted(part) for piece in (key, part[key]))).encode()
    if isinstance(part, list | tuple):
        return digest(*part).encode()
    if isinstance(part, torch.Tensor):
        part = part.detach().cpu().numpy()
    if isinstance(part, np.ndarray):
        return f"{part.dtype} {part.shape}".encode() + np.ascontiguousarray(part).tobytes()
    return repr(part).encode()
