"""ClevrTex from its archives: in any order, beside unpacked scenes, whole or damaged."""

from __future__ import annotations

import errno
import gzip
import os
import sys
import tarfile
from pathlib import Path
from typing import IO, Any

import pytest
from helpers.clevrtex import FORMS, PARTS, archive, five_parts, opened, same, small, unpack
from helpers.sources import scenes

from objbench.data.scene import SceneBatch
from objbench.data.sources import gzipped
from objbench.data.sources.clevrtex import reorder, source
from objbench.data.sources.clevrtex.archives import members
from objbench.data.sources.clevrtex.names import VARIANTS, FileId
from objbench.data.sources.clevrtex.reorder import ReorderBuffer
from objbench.errors import ObjbenchError


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve scenes, unpacked."""
    return unpack(tmp_path_factory.mktemp("unpacked"))


@pytest.fixture(scope="module")
def reference(unpacked: Path) -> dict[str, SceneBatch]:
    return scenes(small(unpacked))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same scenes in an archive, in no order."""
    return archive(tmp_path_factory.mktemp("packed") / "one.tar.gz", shuffled=True)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_release_gives_the_same_scenes(
    tmp_path: Path, reference: dict[str, SceneBatch], form: str
) -> None:
    assert same(scenes(small(FORMS[form](tmp_path))), reference)


def test_without_isal_the_scenes_are_the_same(
    packed: Path, reference: dict[str, SceneBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)
    assert same(scenes(small(packed)), reference)


def test_the_files_are_the_archives(tmp_path: Path) -> None:
    assert small(five_parts(tmp_path / "a")).files == [tmp_path / "a" / name for name in PARTS]
    assert small(unpack(tmp_path / "b")).files == []


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> list[IO[bytes]]:
    """The temporary files that are opened."""
    made: list[IO[bytes]] = []
    original = reorder.tempfile.TemporaryFile

    def opening(**options: Any) -> IO[bytes]:
        made.append(original(**options))
        return made[-1]

    monkeypatch.setattr(reorder.tempfile, "TemporaryFile", opening)
    return made


@pytest.mark.parametrize("memory", [0, 300_000])
def test_what_comes_early_goes_to_a_temporary_file_that_is_gone_afterwards(
    packed: Path,
    reference: dict[str, SceneBatch],
    monkeypatch: pytest.MonkeyPatch,
    temporary: list[IO[bytes]],
    memory: int,
) -> None:
    monkeypatch.setattr(reorder, "ReorderBuffer", lambda: ReorderBuffer(memory))
    assert same(scenes(small(packed)), reference)
    assert [file.closed for file in temporary] == [True]


def test_the_temporary_file_is_gone_after_an_error(
    tmp_path: Path, packed: Path, monkeypatch: pytest.MonkeyPatch, temporary: list[IO[bytes]]
) -> None:
    monkeypatch.setattr(reorder, "ReorderBuffer", lambda: ReorderBuffer(0))
    path = tmp_path / "cut.tar.gz"
    path.write_bytes(packed.read_bytes()[:-300_000])
    with pytest.raises(ObjbenchError, match="truncated"):
        scenes(small(path))
    assert [file.closed for file in temporary] == [True]


def test_the_temporary_file_is_emptied_when_nothing_in_it_is_still_to_be_taken(
    temporary: list[IO[bytes]],
) -> None:
    held = ReorderBuffer(memory=4)
    pieces = {FileId(index, ".png"): bytes([index]) * 4 for index in range(4)}
    for place, content in pieces.items():
        held.put(place, content)
    sizes = []
    for place, content in reversed(pieces.items()):
        assert held.take(place) == content
        sizes.append(temporary[0].seek(0, 2))
    assert sizes == [12, 12, 0, 0]  # the first file is in memory
    held.close()


def test_what_fits_into_memory_needs_no_temporary_file(packed: Path, temporary: list[IO[bytes]]) -> None:
    scenes(small(packed))
    assert temporary == []


def test_a_full_disk_says_what_the_temporary_file_is_for(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: Any) -> IO[bytes]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reorder, "ReorderBuffer", lambda: ReorderBuffer(0))
    monkeypatch.setattr(reorder.tempfile, "TemporaryFile", full)
    with pytest.raises(ObjbenchError, match=r"No space left on device: the archives hold .* TMPDIR=FOLDER"):
        scenes(small(packed))


def test_blocks_are_bounded_in_scenes_and_in_bytes(
    packed: Path, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "SCENES_PER_JOB", 4)
    monkeypatch.setattr(source, "BYTES_PER_JOB", 280_000)

    def sizes(raw: Path) -> list[int]:
        opened = small(raw)
        return [len(block) for split, block in opened.read(opened.plan(), {}) if split == "train"]

    assert sizes(unpacked) == [4, 2]
    assert sizes(packed) == [3, 2, 1]  # the first three have 426 kB, the first two 277 kB


def test_reading_stops_when_nothing_more_is_wanted(tmp_path: Path) -> None:
    path = archive(tmp_path / "one.tar.gz")
    path.write_bytes(path.read_bytes()[:-1000])
    assert scenes(small(path, train=0))["val"].index.tolist() == [3, 4, 5]


def test_a_disk_that_fails_names_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(size: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(gzipped, "reader", lambda _: read)
    path = tmp_path / "a.tar"
    path.touch()
    with pytest.raises(OSError, match="Input/output error") as error:
        next(members(path, VARIANTS["full"]))
    assert error.value.filename == str(path)


def test_an_incomplete_archive_is_noticed_at_its_end(tmp_path: Path) -> None:
    path = archive(tmp_path / "one.tar.gz", [0, 1, 3, 4, 5, 7, 8, 11])
    message = (
        r"one.tar.gz: holds 8 records; .* needs 12; missing: CLEVRTEX_full_000002, CLEVRTEX_full_000006, "
    )
    with pytest.raises(ObjbenchError, match=message + "CLEVRTEX_full_000009 and 1 more"):
        scenes(small(path))


def test_an_incomplete_archive_is_cut_by_its_indices(tmp_path: Path) -> None:
    plans = opened(archive(tmp_path / "one.tar.gz", [7, 3, 30_000]), train=1, val=1, test=1)
    assert {split: batch.index.tolist() for split, batch in scenes(plans).items()} == {
        "test": [3],
        "val": [7],
        "train": [30_000],
    }


def test_a_missing_archive_is_named_before_the_others_are_read(tmp_path: Path) -> None:
    for name in (PARTS[0], PARTS[2], PARTS[3]):
        archive(tmp_path / name, [0])
    message = rf"comes in 5 archives; missing: {PARTS[1]}, {PARTS[4]}\. .* give all of"
    with pytest.raises(ObjbenchError, match=message):
        opened(tmp_path).plan()
    with pytest.raises(ObjbenchError, match=rf"missing: {PARTS[1]}, {PARTS[2]}, {PARTS[3]}, {PARTS[4]}\."):
        opened(tmp_path / PARTS[0]).plan()


def test_a_file_missing_in_an_archive_is_named(tmp_path: Path) -> None:
    name = "clevrtex_full/0/CLEVRTEX_full_000001_flat.png"
    with (
        tarfile.open(archive(tmp_path / "whole.tar")) as whole,
        tarfile.open(tmp_path / "b.tar", "w") as less,
    ):
        for member in whole:
            if member.name != name:
                less.addfile(member, whole.extractfile(member))
    with pytest.raises(ObjbenchError, match=f"^{tmp_path / 'b.tar' / name}: the mask is missing$"):
        scenes(small(tmp_path / "b.tar"))


def test_a_damaged_scene_in_an_archive_is_named_by_its_member(tmp_path: Path) -> None:
    unpack(tmp_path)
    name = "clevrtex_full/0/CLEVRTEX_full_000001.png"
    (tmp_path / name).write_bytes(b"<html>")
    with tarfile.open(tmp_path / "b.tar", "w") as file:
        file.add(tmp_path / "clevrtex_full", "clevrtex_full")
    with pytest.raises(ObjbenchError, match=rf"b.tar: {name}: the image is no PNG, or a damaged one"):
        scenes(small(tmp_path / "b.tar"))


@pytest.mark.parametrize("cut", [3, 9, 1_000, 700_000])
def test_a_truncated_archive_names_the_last_member(tmp_path: Path, packed: Path, cut: int) -> None:
    path = tmp_path / "cut.tar.gz"
    path.write_bytes(packed.read_bytes()[:-cut])
    with pytest.raises(ObjbenchError) as caught:
        scenes(opened(path, train=6, val=3, test=3))
    assert str(caught.value).startswith(
        f"{path}: the gzip stream ends early: the file is truncated; last member"
    )
    assert "last member read: clevrtex_full/0/CLEVRTEX_full_0000" in str(caught.value)


def test_a_damaged_archive_is_refused(tmp_path: Path, packed: Path) -> None:
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 0x10
    path = tmp_path / "damaged.tar.gz"
    path.write_bytes(content)
    with pytest.raises(
        ObjbenchError, match=rf"{path}: .*damaged.*; last member read: clevrtex_full/0/CLEVRTEX"
    ):
        scenes(opened(path, train=6, val=3, test=3))


def test_a_truncated_tar_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "cut.tar")
    whole = path.read_bytes()
    path.write_bytes(whole[:-300_000])
    with pytest.raises(ObjbenchError, match="the archive ends inside a member: it is truncated"):
        scenes(small(path))
    content = whole.rstrip(b"\0")
    path.write_bytes(content + bytes(-len(content) % 512))
    with pytest.raises(ObjbenchError, match="the archive ends without its end mark: it is truncated"):
        list(members(path, VARIANTS["full"]))


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>not found</html>", b"x" * 2000, gzip.compress(b"y" * 2000, mtime=0)],
    ids=["empty", "a page", "bytes", "gzip"],
)
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clevrtex_full_part1.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ObjbenchError, match=f"{path}: not a tar archive"):
        opened(path)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.tar"
    with tarfile.open(path, "w") as file:
        file.add(__file__, "tests/test.py")
    with pytest.raises(ObjbenchError, match=rf"{path}: holds no scenes of clevrtex_full"):
        opened(path)


def test_an_archive_of_another_variant_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / PARTS[0], [0], "vbg")
    message = rf"{path}: member clevrtex_vbg/0/CLEVRTEX_vbg_000000.* this is the variant 'vbg' of ClevrTex"
    with pytest.raises(ObjbenchError, match=message):
        opened(tmp_path)


def test_a_folder_of_another_variants_archive_is_refused(tmp_path: Path) -> None:
    archive(tmp_path / "clevrtex_outd.tar.gz", [0], "vbg")
    with pytest.raises(
        ObjbenchError, match="this is the variant 'outd' of ClevrTex; the variant 'full' is needed"
    ):
        opened(tmp_path)


def test_an_archive_of_version_2_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.tar"
    with tarfile.open(path, "w") as file:
        file.add(__file__, "clevrtexv2_full/0/CLEVRTEXv2_full_000000/CLEVRTEXv2_full_000000_0003.png")
    with pytest.raises(ObjbenchError, match=r"one.tar: member .*this is version 2 of ClevrTex"):
        opened(path)


def special(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


SCENE = "CLEVRTEX_full_000000.png"


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (
            special(f"0/{SCENE}", tarfile.SYMTYPE, link="/etc/passwd"),
            "it is a symbolic link, expected a plain file",
        ),
        (
            special(f"0/{SCENE}", tarfile.LNKTYPE, link="/etc/passwd"),
            "it is a hard link, expected a plain file",
        ),
        (special(f"0/{SCENE}", tarfile.CHRTYPE), "it is a device, expected a plain file"),
        (special(f"0/{SCENE}", tarfile.FIFOTYPE), "it is a pipe, expected a plain file"),
        (special(f"../{SCENE}"), "its name leads out of the archive"),
        (special(f"/tmp/{SCENE}"), "its name leads out of the archive"),
        (special(f"0/{SCENE}", size=1 << 40), "it has 1,099,511,627,776 bytes, expected at most 4,194,304"),
    ],
)
def test_a_member_that_no_release_has_is_refused(tmp_path: Path, info: tarfile.TarInfo, message: str) -> None:
    path = tmp_path / "one.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    with pytest.raises(ObjbenchError, match=f"{path}: member {info.name}: {message}"):
        opened(path)


@pytest.mark.parametrize(
    "size",
    [b"-0000002000\0", b"0000_002000\0", b"+0000002000\0", b"0000009000 \0", b"\xff" * 12, b"0x000000200\0"],
)
@pytest.mark.parametrize("name", [f"0/{SCENE}", "0/other.txt"])
def test_a_size_that_is_no_octal_number_is_damage(tmp_path: Path, size: bytes, name: str) -> None:
    header = bytearray(special(name).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "one.tar"
    path.write_bytes(bytes(header) + bytes(10_240))
    with pytest.raises(
        ObjbenchError, match=f"{path}: the header of a member is wrong: the archive is damaged"
    ):
        opened(path)


def test_a_member_that_is_passed_over_may_claim_any_size(tmp_path: Path) -> None:
    path = tmp_path / "one.tar"
    path.write_bytes(special("other.txt", size=1 << 80).tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    with pytest.raises(ObjbenchError, match="the archive ends inside a member: it is truncated"):
        opened(path)


def test_members_of_no_interest_are_passed_over(tmp_path: Path, reference: dict[str, SceneBatch]) -> None:
    path = archive(tmp_path / "one.tar")
    others = [
        special("../../escape"),
        special("link", tarfile.SYMTYPE, link="/etc/passwd"),
        special("clevrtex_full/0/._" + SCENE),
        special("x" * 300 + "/" + SCENE.replace("full_000000.png", "full_000000_shadow_0001.png")),
    ]
    head = b"".join(info.tobuf(form) for info in others for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))
    path.write_bytes(head + path.read_bytes())
    assert same(scenes(small(path)), reference)
    assert [entry.name for entry in tmp_path.iterdir()] == ["one.tar"]


def test_an_archive_packed_in_pax_format_gives_the_same_scenes(
    tmp_path: Path, unpacked: Path, reference: dict[str, SceneBatch]
) -> None:
    (folder,) = unpacked.iterdir()
    with tarfile.open(
        tmp_path / "full.tar", "w", format=tarfile.PAX_FORMAT, pax_headers={"mtime": "1.5"}
    ) as packed:
        for path in sorted(folder.rglob("*.*")):
            entry = packed.gettarinfo(path, str(path.relative_to(unpacked)))
            entry.pax_headers = {"mtime": "1.5"}
            with path.open("rb") as file:
                packed.addfile(entry, file)
    assert same(scenes(small(tmp_path / "full.tar")), reference)
