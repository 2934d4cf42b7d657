"""Downloading the files of a release that a prepare needs and that --raw does not give."""

from __future__ import annotations

from pathlib import Path

from objbench.data.download import Remote, Status, fetch, status
from objbench.data.sources.base import SourceRequest
from objbench.data.sources.release import source_spec, wanted_files
from objbench.folders import copy_folder
from objbench.progress import Say
from objbench.spec.datasets import DatasetRef
from objbench.stores import Place

DOWNLOADS = ".downloads"


def fetch_release(request: SourceRequest, data: Place, say: Say) -> Path | None:
    """Download the missing files of a source into `<data>/.downloads/<release>`; for a store, to this disk's cache.

    Args:
        say: Is told before the start what is downloaded, how large it is and how much space is free.

    Returns:
        The folder with the files; None for a source without downloads.

    Raises:
        ObjbenchError: The files cannot be downloaded.
    """
    remotes = _remotes(request)
    if not remotes:
        return None
    folder = _folder(request, data)
    fetch(remotes, folder, say=say)
    return folder


def release_status(request: SourceRequest, data: Place) -> Status | None:
    """What `fetch_release` would download, and how large it is; None for a source without downloads. Writes nothing."""
    remotes = _remotes(request)
    return status(remotes, _folder(request, data)) if remotes else None


def published_files(dataset: DatasetRef, source: str) -> dict[str, Remote]:
    """The files of a release by name, with what is published of them; empty for a source without downloads."""
    return {remote.name: remote for remote in _remotes(SourceRequest(dataset, source))}


def _remotes(request: SourceRequest) -> list[Remote]:
    download = source_spec(request).download
    if download is None:
        return []
    names = wanted_files(request)
    return [Remote(name=name, **dict(file)) for name, file in download.files.items() if name in names]


def _folder(request: SourceRequest, data: Place) -> Path:
    download = source_spec(request).download
    assert download is not None
    return (data if isinstance(data, Path) else copy_folder("raw", data)) / DOWNLOADS / download.folder
