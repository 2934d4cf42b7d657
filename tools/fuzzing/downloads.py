"""Targets: downloads from a server that lies, and the receipts and partial files that they leave."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzzing.liar import DETECTABLE, PATH, UNDETECTABLE, Plan, lying
from fuzzing.outcome import Outcome, Reading, Result, judge_error, judge_reading
from fuzzing.target import FileTarget, Target, digest
from objbench.data.download import Remote, fetch, http, patience, transfer

NAME = PATH.strip("/")
CONTENT = Random(1).randbytes(200_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def targets() -> Iterator[Target]:
    """The targets of this module."""
    yield ServerTarget("server-checksum", "lying server, sha256 published: download", SHA256)
    yield ServerTarget("server", "lying server, no checksum published: download", None)
    yield FileTarget(
        name="receipt",
        what="receipt of a download: download",
        build=_build_receipt,
        read=_read_receipt,
        victims=("*.json",),
        subjects=(NAME,),
    )
    yield FileTarget(
        name="partial",
        what="unfinished download with sha256: download",
        build=_build_partial,
        read=_finish,
        victims=("*.partial", "*.partial.json"),
        subjects=(NAME,),
    )


@dataclass
class ServerTarget(Target):
    """A download whose server lies to some of the requests."""

    name: str
    what: str
    sha256: str | None
    cost: int = 10
    limit: float = 40.0

    def begin(self, folder: Path) -> None:
        """Start the server, and make the downloads as impatient as a test can wait."""
        _be_impatient()
        self._folder = folder / "work"
        self._stack = contextlib.ExitStack()
        self._liar = self._stack.enter_context(lying())

    def trial(self, random: Random) -> Result:
        """Download from a server that lies once, some times or always, sometimes with an honest mirror."""
        kind = random.choice([*DETECTABLE, *UNDETECTABLE])
        lie = (DETECTABLE | UNDETECTABLE)[kind]
        first, requests = random.choice((0, 0, 1, 2)), random.choice((1, 2, float("inf"), float("inf")))
        self._liar.plan = Plan(CONTENT, lie, random, first, requests)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        remote = Remote(name=NAME, urls=(self._liar.url,), sha256=self.sha256)
        try:
            result = judge_reading(
                Reading(_fetched(remote, self._folder)),
                Reading(digest(CONTENT)),
                [NAME],
                checked=self.sha256 is not None or kind in DETECTABLE,
            )
        except Exception as error:
            result = judge_error(error, self._folder, [NAME])
        if result.outcome is Outcome.NAMED and (self._folder / NAME).exists():
            result = Result(Outcome.SILENT, f"refused, but the file is there: {result.detail}")
        return Result(result.outcome, f"{kind}, from request {first}, {requests} times: {result.detail}")


def _be_impatient() -> None:
    """Keep the rules of downloads, in a hundredth of the time."""
    patience.FIRST_WAIT, patience.LONGEST_WAIT, patience.LONGEST_RETRY_AFTER = 0.01, 0.02, 0.05
    patience.ANSWER_SECONDS, patience.RATE_SECONDS, http.TIMEOUT = 1.0, 1.0, 0.5
    transfer.SMALLEST_PIECE = 20_000


def _fetched(remote: Remote, folder: Path) -> str:
    (path,) = fetch([remote], folder, say=lambda line: None)
    return digest(path.read_bytes())


def _build_receipt(folder: Path) -> None:
    """A finished download; its server is gone."""
    with lying() as liar:
        liar.plan = Plan(CONTENT, DETECTABLE["cut"], Random(), 0, 0)
        _fetched(Remote(name=NAME, urls=(liar.url,), sha256=SHA256), folder)


def _read_receipt(folder: Path) -> Reading:
    return Reading(_fetched(Remote(name=NAME, urls=("http://127.0.0.1:9/x",), sha256=SHA256), folder))


def _build_partial(folder: Path) -> None:
    """A download whose server fails in the middle."""
    _be_impatient()
    with lying() as liar:
        liar.plan = Plan(CONTENT, DETECTABLE["cut"], Random(2), 2, 1)
        answers = itertools.count()
        honest = liar.plan.answer
        liar.plan.answer = lambda wanted: honest(wanted) if next(answers) < 4 else b""  # type: ignore[method-assign]
        with contextlib.suppress(Exception):
            _fetched(Remote(name=NAME, urls=(liar.url,), sha256=SHA256), folder)


def _finish(folder: Path) -> Reading:
    """The file, once the server is well again."""
    with lying() as liar:
        liar.plan = Plan(CONTENT, DETECTABLE["cut"], Random(), 0, 0)
        return Reading(_fetched(Remote(name=NAME, urls=(liar.url,), sha256=SHA256), folder))
