"""Object stores by URL (s3, gs, hf, memory and all others that fsspec knows), used like the folders of a disk.

fsspec is imported when a URL is used, and not before. A file appears in a store whole or not at all: `move_whole` and
`write_whole` put it in one piece, `Store.create` only if it is not there yet.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from glob import escape
from pathlib import Path
from typing import IO, Any, NamedTuple

from objbench.errors import ObjbenchError, RequestError, brief
from objbench.files import sync, write_atomically
from objbench.locks import exclusive_lock
from objbench.paths import path_of

EXTRA = "pip install 'objbench[stores]'"
_READ_AHEAD = 1 << 16  # bytes that are read at once where a file is not read whole
_BUCKET_PARTS = {
    "s3": 1,
    "s3a": 1,
    "gs": 1,
    "gcs": 1,
    "hf": 3,
}  # names that make a bucket: hf://datasets/me/set
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub"}
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or FSSPEC_S3_ANON=true for a public bucket",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default login",
    "hf": "HF_TOKEN, or hf auth login",
}
_UNKNOWN_USER = (
    "NoCredentials",
    "PartialCredentials",
    "DefaultCredentials",
    "RefreshError",
    "TokenRetrieval",
)
_UNREACHABLE = ("EndpointConnection", "ConnectTimeout", "ClientConnector", "ConnectionError", "gaierror")
_VERSIONS = ("ETag", "etag", "generation", "blob_id", "LastModified", "last_modified", "mtime", "created")
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_answered: set[str] = set()  # buckets that answered this process, as "protocol://bucket"


class FileFacts(NamedTuple):
    """What a store knows of a file.

    Attributes:
        version: What tells this content from another: an ETag, a generation, else the time, and the size.
    """

    bytes: int
    version: str

    @staticmethod
    def of(info: dict[str, Any]) -> FileFacts:
        """From what fsspec says of a file."""
        known = next((info[key] for key in _VERSIONS if info.get(key) is not None), "")
        when = known.timestamp() if isinstance(known, datetime) else known
        return FileFacts(int(info["size"]), f"{when}-{info['size']}")


@dataclass(frozen=True)
class Store:
    """A folder or file of an object store, by its URL. What it has of `pathlib.Path` means the same.

    Methods raise RequestError if the store cannot be used at all (unknown protocol, missing package, no credentials, no
    such bucket, no answer), and ObjbenchError if it fails after it answered once.

    Example:
        >>> shard = Store("memory://sets") / "tetrominoes" / "train-000000.tar"
        >>> shard.create(b"whole")
        >>> shard.read_bytes(), shard.name, str(shard)
        (b'whole', 'train-000000.tar', 'memory://sets/tetrominoes/train-000000.tar')
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> Store:
        return Store(f"{self.url.rstrip('/')}/{name}")

    @property
    def protocol(self) -> str:
        """What stands before `://`."""
        return self.url.partition("://")[0]

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> Store:
        """The folder that it is in."""
        return Store(self.url.rstrip("/").rpartition("/")[0])

    def absolute(self) -> Store:
        return self

    def is_file(self) -> bool:
        return self.facts() is not None

    def facts(self) -> FileFacts | None:
        """Size and version of the file, None if there is no such file."""
        try:
            with self._asked() as (system, path):
                found = system.info(path)
        except FileNotFoundError:
            return None
        return FileFacts.of(found) if found["type"] == "file" else None

    def files(self) -> dict[str, FileFacts]:
        """Path below this folder -> size and version, of all files in it and in its folders."""
        with self._asked() as (system, path):
            found = system.find(path, detail=True)
            root = len(path.rstrip("/")) + 1
            if not found:
                self._refuse_missing_bucket(system, path)
        return {name[root:]: FileFacts.of(facts) for name, facts in sorted(found.items())}

    def glob(self, pattern: str) -> Iterator[Store]:
        """The files and folders whose path below this folder has this pattern."""
        with self._asked() as (system, path):
            found = system.glob(f"{escape(path.rstrip('/'))}/{pattern}")
            root = len(path.rstrip("/")) + 1
            if not found:
                self._refuse_missing_bucket(system, path)
        yield from (self / name[root:] for name in sorted(found))

    def read_bytes(self) -> bytes:
        with self._asked() as (system, path):
            return bytes(system.cat_file(path))

    @contextmanager
    def open(self, mode: str = "rb") -> Iterator[IO[bytes]]:
        """The file, opened for reading here and there."""
        with self._asked() as (system, path), system.open(path, mode, block_size=_READ_AHEAD) as file:
            yield file

    def get(self, target: Path) -> None:
        """Copy the file to the disk; FileNotFoundError if there is no such file. After a failure `target` may be half."""
        with self._asked() as (system, path):
            try:
                system.get_file(path, str(target))
            except OSError as error:
                if error.errno in _OF_THE_DISK:
                    error.filename = str(target)
                raise

    def put(self, file: Path) -> None:
        """Copy a file of the disk here, whole or not at all."""
        with self._asked() as (system, path):
            system.put_file(str(file), path)

    def write_bytes(self, content: bytes) -> None:
        with self._asked() as (system, path):
            system.pipe_file(path, content)

    def create(self, content: bytes) -> None:
        """Write a file that is not there yet; FileExistsError if it is, and then nothing is changed."""
        with self._asked() as (system, path):
            system.pipe_file(path, content, mode="create")

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            with self._asked() as (system, path):
                system.rm_file(path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    @property
    def bucket(self) -> str:
        """The URL of the bucket; of the whole store where it has none."""
        parts = self.url.partition("://")[2].split("/")
        return f"{self.protocol}://{'/'.join(parts[: _BUCKET_PARTS.get(self.protocol, 0)])}"

    @contextmanager
    def _asked(self) -> Iterator[tuple[Any, str]]:
        """The file system of fsspec and the path in it; its errors in words."""
        system, path = _system(self.url)
        try:
            yield system, path
        except (FileExistsError, ObjbenchError):
            raise
        except FileNotFoundError:
            self._refuse_missing_bucket(system, path)
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.filename is not None:  # of the disk
                raise
            raise self._explained(error) from error
        _answered.add(self.bucket)

    def _explained(self, error: Exception) -> ObjbenchError:
        """An error of a store or of its library in one line, with what to do about it."""
        kinds = [kind.__name__ for kind in type(error).__mro__]
        names = _CREDENTIALS.get({"s3a": "s3", "gcs": "gs"}.get(self.protocol, self.protocol))
        if any(sign in kind for kind in kinds for sign in _UNKNOWN_USER):
            what = (
                f"no credentials for this store ({brief(error)}); give them{f' by {names}' if names else ''}"
            )
        elif isinstance(error, PermissionError):
            what = f"access denied ({brief(error)}); the credentials must allow it{f' ({names})' if names else ''}"
        elif any(sign in kind for kind in kinds for sign in _UNREACHABLE) or isinstance(error, TimeoutError):
            what = f"the store does not answer ({brief(error)}); see to the network and, where it is your own, its address"
            what += " (AWS_ENDPOINT_URL)" if self.protocol in ("s3", "s3a") else ""
        else:
            what = f"{type(error).__name__}: {brief(error)}; the same command continues where it stopped"
        kind = ObjbenchError if self.bucket in _answered else RequestError
        return kind(f"{self}: {what}")

    def _refuse_missing_bucket(self, system: Any, path: str) -> None:
        """RequestError if the bucket is not there; asked once."""
        parts = _BUCKET_PARTS.get(self.protocol, 0)
        if parts and self.bucket not in _answered:
            bucket = "/".join(path.strip("/").split("/")[:parts])
            if not bucket or not system.exists(bucket):
                raise RequestError(
                    f"{self}: there is no bucket {self.bucket}; correct its name, or make it first (objbench makes none)"
                )


Place = Path | Store


def place(where: str | os.PathLike[str] | Store) -> Place:
    """A folder or file of the disk, or of an object store if `where` is a URL.

    >>> place("s3://bucket/sets"), place("data") == place("file://data") == Path("data")
    (Store(url='s3://bucket/sets'), True)
    """
    if isinstance(where, Store):
        return where
    if not isinstance(where, str) or "://" not in where:
        return path_of(where)
    if where.partition("://")[0] in ("file", "local"):
        return Path(where.partition("://")[2])
    return Store(where)


def move_whole(file: Path, target: Place) -> None:
    """Give a complete file of the disk its place; until then nothing is there, and afterwards all of it."""
    if isinstance(target, Path):
        file.replace(target)
        sync(target.parent)
    else:
        target.put(file)
        file.unlink()


def locked(path: Place, occupied: str | None = None) -> AbstractContextManager[None]:
    """`exclusive_lock` on a disk. A store has no locks: what two processes do there at once has to be the same."""
    return exclusive_lock(path, occupied) if isinstance(path, Path) else nullcontext()


def write_whole(target: Place, content: str) -> None:
    """Write a text file completely or not at all."""
    if isinstance(target, Path):
        write_atomically(target, content)
    else:
        target.write_bytes(content.encode())


def remove_tree(folder: Place) -> None:
    """Remove a folder with all that is in it; one that is not there is none the worse."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
        return
    for name in folder.files():
        (folder / name).unlink(missing_ok=True)


def _system(url: str) -> tuple[Any, str]:
    """The file system of fsspec for a URL, and the path in it. It is asked for anew each time: a forked process needs
    another one, which fsspec knows."""
    protocol = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise RequestError(f"{url}: URLs need the package fsspec: {EXTRA}") from None
    try:
        system, path = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        remedy = EXTRA if package == "s3fs" else f"pip install {package}" if package else brief(error)
        raise RequestError(f"{url}: this protocol needs another package: {remedy}") from None
    except ValueError as error:
        if "rotocol" not in str(error):
            raise RequestError(f"{url}: not a URL of an object store ({brief(error)})") from None
        raise RequestError(
            f"{url}: fsspec knows no protocol '{protocol}'; expected s3://, gs://, hf://, memory:// or another one of "
            "fsspec's, or the path of a folder"
        ) from None
    return system, path
