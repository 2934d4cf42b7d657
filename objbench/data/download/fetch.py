"""Downloading the files of a release that are missing, one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from objbench import progress
from objbench.data.download.file import Download, FileStatus
from objbench.data.download.http import Client
from objbench.data.download.meter import Meter, bar
from objbench.data.download.remote import Remote
from objbench.files import check_space, free_space, megabytes
from objbench.os_errors import explain_os_errors

CONNECTIONS = 4
_MAKE_ROOM = "free some space or choose another place with --data"


@dataclass(frozen=True)
class Status:
    """How much of a release is in `folder`.

    Attributes:
        items: One per file.
        needed: Bytes of the disk that the missing parts will take.
        free: Bytes that are free there.
    """

    folder: Path
    items: tuple[FileStatus, ...]
    needed: int
    free: int


def status(remotes: Sequence[Remote], folder: Path) -> Status:
    """What is there and what is missing of a release. Asks the servers for sizes; writes nothing."""
    client = Client()
    items = tuple(Download(remote, folder, client).describe() for remote in remotes)
    return Status(folder, items, sum(item.space for item in items), free_space(folder))


def fetch(
    remotes: Sequence[Remote],
    folder: Path,
    connections: int = CONNECTIONS,
    say: progress.Say = lambda line: None,
) -> list[Path]:
    """Download the files of a release that are missing in `folder`, with a progress bar.

    A file that is there with its receipt costs no request. After a kill or a failure the next call resumes.

    Args:
        connections: At the same time, for one file.
        say: Is told what is downloaded, resumed or started over, and why.

    Returns:
        The paths of all files.

    Raises:
        ObjbenchError: No address gives a file, the disk has no room, or another process is downloading the file.
    """
    client = Client()
    downloads = [Download(remote, folder, client) for remote in remotes]
    with explain_os_errors(folder, "--data"):
        missing = [download for download in downloads if not download.verify_existing(say)]
        locations = [download.first_location() for download in missing]
        where = missing[0].path if len(missing) == 1 else folder
        needed = sum(map(Download.space, missing, locations))
        check_space(where, needed, "the download still needs", _MAKE_ROOM)
        total = sum(location.part.length for location in locations)
        if missing:
            hosts = ", ".join(sorted({urlsplit(location.part.resource.url).netloc for location in locations}))
            files = f"{len(missing)} files" if len(missing) > 1 else missing[0].remote.name
            free = megabytes(free_space(folder))
            say(f"downloading {files}, {megabytes(total)}, from {hosts} to {folder}, where {free} are free")
        with contextlib.ExitStack() as stack:
            meter = Meter(stack.enter_context(bar(total)) if missing else progress.silent)
            for download, location in zip(missing, locations, strict=True):
                download.run(location, connections, say, meter)
                meter.close(location.part.length)
    return [download.path for download in downloads]
