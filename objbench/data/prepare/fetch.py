"""The files of a release that a prepare needs and that --raw does not give: downloaded, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from objbench.data.download import Remote, Survey, fetch, survey
from objbench.data.sources.base import SourceRequest
from objbench.data.sources.release import wanted_files
from objbench.spec.datasets import DatasetRef

DOWNLOADS = ".downloads"


def fetch_release(
    dataset: DatasetRef, source: str, data: Path, sizes: Mapping[str, int], say: Callable[[str], None]
) -> Path | None:
    """The folder with the files of `source`, after those that are missing were downloaded into it.

    `<data>/.downloads/<release>`; None for a source that nothing can be downloaded for. `say` is told what is
    downloaded, how large it is and how much space is free before it starts. ObjbenchError if it cannot be had.
    """
    remotes = _remotes(dataset, source, sizes)
    if not remotes:
        return None
    folder = _folder(dataset, source, data)
    fetch(remotes, folder, say=say)
    return folder


def release_status(dataset: DatasetRef, source: str, data: Path, sizes: Mapping[str, int]) -> Survey | None:
    """What `fetch_release` would download, and how large it is; None where nothing can be. Writes nothing."""
    remotes = _remotes(dataset, source, sizes)
    return survey(remotes, _folder(dataset, source, data)) if remotes else None


def _remotes(dataset: DatasetRef, source: str, sizes: Mapping[str, int]) -> list[Remote]:
    download = dataset.spec.sources[source].download
    if download is None:
        return []
    names = wanted_files(SourceRequest(dataset, source, None, dict(sizes)))
    return [Remote(name, **file.model_dump()) for name, file in download.files.items() if name in names]


def _folder(dataset: DatasetRef, source: str, data: Path) -> Path:
    download = dataset.spec.sources[source].download
    assert download is not None
    return data / DOWNLOADS / download.folder
