"""Targets: what prepare writes (shards, manifest, cache, journal), read by load, stream, verify and prepare."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import objbench
from fuzzing.outcome import Reading
from fuzzing.raw import scenes
from fuzzing.target import FileTarget, call, digest
from objbench.data.format import png
from objbench.data.prepare.prepare import prepare
from objbench.errors import ObjbenchError
from objbench.spec.load import load_spec

SIZES = {"train": 12, "val": 4, "test": 6}
_PLACE = "data/tetrominoes/generated"
_SMALL = "datasets: {tetrominoes: {scenes_per_shard: 4}}\n"


def targets() -> Iterator[FileTarget]:
    """The targets of this module."""
    readers: dict[str, Callable[[Path], Reading]] = {
        "load": _load,
        "stream": _stream,
        "verify": partial(_verify, deep=False),
        "verify-deep": partial(_verify, deep=True),
        "prepare": _prepare_again,
    }
    for verb, read in readers.items():
        if verb != "prepare":
            yield _target(f"shards-{verb}", f"prepared shards: {_shown(verb)}", read, f"{_PLACE}/*.tar")
    for verb, read in readers.items():
        yield _target(f"manifest-{verb}", f"manifest.json: {_shown(verb)}", read, f"{_PLACE}/manifest.json")
    for verb, read in {"load": _load, "verify": _verify_cache}.items():
        yield FileTarget(
            name=f"cache-{verb}",
            what=f"decoded cache: {verb}",
            build=_build_with_cache,
            read=read,
            victims=(f"{_PLACE}/.cache/*",),
            texts=("*.jsonl", "*.json", "*.txt"),
            unchecked=(f"{_PLACE}/.cache/*",) if verb == "load" else (),  # read at the speed of a memory copy
            subjects=(".cache/", "/.cache"),
        )
    yield FileTarget(
        name="journal",
        what="journal of an unfinished prepare: prepare",
        build=_build_unfinished,
        read=_go_on,
        victims=(f"{_PLACE}/.prepare/*", f"{_PLACE}/*.tar"),
        subjects=(_PLACE,),
    )
    yield FileTarget(
        name="png",
        what="PNG of a label map or an image: decode",
        build=_build_pngs,
        read=_read_pngs,
        victims=("*.png",),
    )


def _target(name: str, what: str, read: Callable[[Path], Reading], victim: str) -> FileTarget:
    return FileTarget(name=name, what=what, build=_build, read=read, victims=(victim,), subjects=(_PLACE,))


def _shown(verb: str) -> str:
    return verb.replace("-deep", " --deep")


def _build(folder: Path) -> None:
    prepare(load_spec().dataset("tetrominoes"), "generated", folder / "data", sizes=SIZES, workers=1)


def _build_with_cache(folder: Path) -> None:
    _build(folder)
    _load(folder)


def _load(folder: Path) -> Reading:
    return scenes("tetrominoes", tuple(SIZES), folder / "data")


def _stream(folder: Path) -> Reading:
    """The same scenes as `_load` gives, sample by sample."""
    found = {}
    for split in SIZES:
        samples = list(objbench.stream("tetrominoes", split, data=folder / "data"))
        found[split] = digest(
            [[sample["__key__"], sample["image"], sample["mask"], sample["factors"]] for sample in samples]
        )
    return Reading(found)


def _verify(folder: Path, deep: bool) -> Reading:
    """The bytes that verify calls sound."""
    said = call("verify", "tetrominoes", "--data", folder / "data", *(("--deep",) if deep else ())).said
    place = folder / _PLACE
    splits = json.loads((place / "manifest.json").read_bytes())["splits"]
    claims = {
        name: (split["count"], split["fingerprint"] if deep else None) for name, split in splits.items()
    }
    shards = digest([path.read_bytes() for path in sorted(place.glob("*.tar"))])
    return Reading((claims, shards), said.replace(str(folder), ""))


def _verify_cache(folder: Path) -> Reading:
    """What load gives of a cache that verify calls sound."""
    said = call("verify", "tetrominoes", "--data", folder / "data").said
    return Reading(_load(folder).content, said.replace(str(folder), ""))


def _prepare_again(folder: Path) -> Reading:
    """A finished prepare answers at once, if what is there is what was asked for."""
    call(*_command(folder))
    return Reading(digest([path.read_bytes() for path in sorted((folder / _PLACE).glob("*.tar"))]))


def _command(folder: Path) -> tuple[object, ...]:
    sizes = [word for split, size in SIZES.items() for word in (f"--{split}", size)]
    return (
        "prepare",
        "tetrominoes",
        "--source",
        "generated",
        "--data",
        folder / "data",
        "--workers",
        1,
        *sizes,
    )


class _StopError(Exception):
    """What ends a prepare in the middle."""


def _build_unfinished(folder: Path) -> None:
    """Shards of four scenes, and a prepare that was stopped while it wrote the last of them."""
    (folder / "small.yaml").write_text(_SMALL)
    done = 0

    def advance(amount: int = 1, note: str | None = None, resumed: int = 0) -> None:
        nonlocal done
        done += amount
        if done >= 18:
            raise _StopError

    reference = load_spec(folder / "small.yaml").dataset("tetrominoes")
    try:
        prepare(reference, "generated", folder / "data", sizes=SIZES, workers=1, advance=advance)
    except _StopError:
        return
    raise AssertionError("this prepare should not have finished")


def _go_on(folder: Path) -> Reading:
    """The bytes of all that the same prepare makes of it."""
    call(*_command(folder), "--config", folder / "small.yaml")
    place = folder / _PLACE
    left = sorted(path.name for path in place.iterdir() if path.name != ".lock")
    return Reading((left, digest([path.read_bytes() for path in sorted(place.iterdir()) if path.is_file()])))


def _build_pngs(folder: Path) -> None:
    """Small ones without filters, as prepare writes them, and large ones with."""
    for dataset, size in (("tetrominoes", "small"), ("clevr6", "large")):
        made = objbench.generate(dataset, 1, seed=1)
        image, mask = made.images[0].permute(1, 2, 0).numpy(), made.masks[0].numpy()
        (folder / f"{size}-image.png").write_bytes(png.encode(image))
        (folder / f"{size}-mask.png").write_bytes(png.encode(mask))


def _read_pngs(folder: Path) -> Reading:
    found = []
    for path in sorted(folder.glob("*.png")):
        try:
            found.append(digest(png.decode(path.read_bytes(), "RGB" if "image" in path.name else "L")))
        except (ValueError, OSError, SyntaxError) as error:  # those its callers expect
            raise ObjbenchError(f"{path}: {error}") from None
    return Reading(found)
