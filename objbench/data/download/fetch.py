"""What is there of a release, and bringing what is not: one file after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from objbench import progress
from objbench.data.download.file import Download, Item, Say
from objbench.data.download.http import Client
from objbench.data.download.meter import Meter, bar
from objbench.data.download.remote import Remote
from objbench.files import check_space, explain_os_errors, free_space, megabytes

CONNECTIONS = 4
_ROOM = "free some space or choose another place with --data"


@dataclass(frozen=True)
class Survey:
    """The files of a release, the bytes that they still take in `folder`, and the bytes that are free there."""

    folder: Path
    items: tuple[Item, ...]
    needed: int
    free: int


def survey(remotes: Sequence[Remote], folder: Path) -> Survey:
    """What is there and what is missing of a release. Asks the servers for sizes; writes nothing."""
    client = Client()
    items = tuple(Download(remote, folder, client).describe() for remote in remotes)
    return Survey(folder, items, sum(item.space for item in items), free_space(folder))


def fetch(
    remotes: Sequence[Remote], folder: Path, connections: int = CONNECTIONS, say: Say = lambda line: None
) -> list[Path]:
    """The paths of all files of a release in `folder`; those that are not there are downloaded first.

    connections   at the same time, for one file;  say: is told what is downloaded, resumed and begun anew, and why
    Shows a progress bar. What is there with its receipt costs no request; after a kill or a failure the next call
    goes on. ObjbenchError if a file can be had nowhere, there is no room, or another process is downloading it.
    """
    client = Client()
    downloads = [Download(remote, folder, client) for remote in remotes]
    with explain_os_errors(folder, "--data"):
        missing = [download for download in downloads if not download.confirm(say)]
        places = [download.first_place() for download in missing]
        check_space(folder, sum(map(Download.space, missing, places)), "the download still needs", _ROOM)
        total = sum(place.extent.length for place in places)
        if missing:
            hosts = ", ".join(sorted({urlsplit(place.extent.offer.url).netloc for place in places}))
            files = f"{len(missing)} files" if len(missing) > 1 else missing[0].remote.name
            free = megabytes(free_space(folder))
            say(f"downloading {files}, {megabytes(total)}, from {hosts} to {folder}, where {free} are free")
        with contextlib.ExitStack() as stack:
            meter = Meter(stack.enter_context(bar(total)) if missing else progress.silent)
            for download, place in zip(missing, places, strict=True):
                download.run(place, connections, say, meter)
                meter.close(place.extent.length)
    return [download.path for download in downloads]
