"""Checkpoints and weights are tested before they are believed, and only finite ones are kept."""

from __future__ import annotations

import errno
import math
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from objbench_toys.methods import Toy

from objbench.errors import ObjbenchError
from objbench.methods.base import Losses
from objbench.methods.create import build
from objbench.spec.load import load_spec
from objbench.spec.resolve import resolve
from objbench.testing import random_scenes
from objbench.train.checkpoint import load_checkpoint, load_weights, save_weights
from objbench.train.loop import Training

IMAGES = random_scenes(7, (3, 35, 35))
UNUSABLE = r"checkpoint.pt: damaged or of another version \(.*\); --fresh starts this seed anew"


def make(**overrides: object) -> Toy:
    spec = load_spec()
    torch.manual_seed(0)
    dataset = spec.dataset("tetrominoes")
    return build(resolve(spec, "toy_geco", dataset, overrides), dataset)


def trained(folder: Path) -> Toy:
    method = make()
    Training(method, IMAGES, 0, folder).run()
    return method


def test_a_flipped_bit_in_any_part_of_a_checkpoint_is_found(tmp_path):
    trained(tmp_path)
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        parts = [part for part in file.infolist() if part.file_size]
    for part in parts:
        content = bytearray(whole)
        start = (
            part.header_offset
            + 30
            + int.from_bytes(whole[part.header_offset + 26 : part.header_offset + 28], "little")
        )
        start += int.from_bytes(whole[part.header_offset + 28 : part.header_offset + 30], "little")
        content[start + part.file_size // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(ObjbenchError, match=UNUSABLE):
            load_checkpoint(tmp_path)
    path.write_bytes(whole)
    assert load_checkpoint(tmp_path).step == 8


NOT_OF_THE_CONTENT = [
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
    RuntimeError("unable to mmap 99 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
    PermissionError(errno.EACCES, "Permission denied"),
    OSError(errno.EIO, "Input/output error"),
]


@pytest.mark.parametrize("error", NOT_OF_THE_CONTENT)
def test_what_says_nothing_about_a_file_does_not_call_it_damaged(tmp_path, monkeypatch, error):
    method = trained(tmp_path)
    save_weights(method, tmp_path)

    def failing(*arguments, **options):
        raise error

    monkeypatch.setattr(torch, "load", failing)
    monkeypatch.setattr("objbench.train.checkpoint.load", failing)  # not what safetensors raises: see below
    with pytest.raises(type(error)) as of_checkpoint:
        load_checkpoint(tmp_path)
    if isinstance(error, OSError):
        assert of_checkpoint.value.filename == str(tmp_path / "checkpoint.pt")
    error.filename = None
    with pytest.raises(type(error)) as of_weights:
        load_weights(method, tmp_path, None)
    if isinstance(error, OSError):
        assert of_weights.value.filename == str(tmp_path / "model.safetensors")


def test_weights_that_may_not_be_read_are_not_called_damaged(tmp_path, monkeypatch):
    method = trained(tmp_path)
    save_weights(method, tmp_path)
    open_file = Path.open

    def closed(path, *arguments, **options):
        if path.name == "model.safetensors":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(PermissionError):
        load_weights(method, tmp_path, None)


def test_a_part_that_the_directory_calls_a_folder_is_found(tmp_path):
    """Torch reads such a part as zeros; every checksum is right."""
    trained(tmp_path)
    path = tmp_path / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 38] = 16  # the attributes of the last part
    path.write_bytes(content)
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
    with pytest.raises(ObjbenchError, match=UNUSABLE):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_shortened_checkpoint_is_refused(tmp_path, size):
    trained(tmp_path)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ObjbenchError, match=UNUSABLE):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("step"),
        lambda state: state.update(stage=7),
        lambda state: state.update(step=9),
        lambda state: state["trainable"].append("other"),
        lambda state: state["method"].pop("colors"),
        lambda state: state["stepper"].pop("optimizers"),
        lambda state: state["method"]["colors"].fill_(float("nan")),
    ],
)
def test_a_checkpoint_of_another_version_is_refused(tmp_path, change):
    trained(tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(ObjbenchError, match=UNUSABLE):
        trained(tmp_path)


def test_weights_are_those_of_the_record(tmp_path):
    method = trained(tmp_path)
    sha256 = save_weights(method, tmp_path)
    load_weights(make(), tmp_path, sha256)
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ObjbenchError, match=r"model.safetensors: not the weights of this record"):
        load_weights(make(), tmp_path, sha256)
    load_weights(make(), tmp_path, None)  # a record written before there were checksums


@pytest.mark.parametrize(
    ("bad_step", "kept"),
    [(0, "there is no earlier checkpoint"), (5, "the checkpoint of step 4 is kept")],
)
def test_nan_parameters_never_replace_a_good_checkpoint(tmp_path, bad_step, kept):
    method = make(**{"recipe.checkpoint_steps": 4 if bad_step else 2})
    loss = method.training_loss

    def training_loss(images, progress):
        found = loss(images, progress)
        if progress.step != bad_step:
            return Losses(found.total.nan_to_num(), {"error": found.parts["error"].nan_to_num()})
        zero = (method.colors - method.colors.detach()).square().sum().sqrt()  # value 0, gradient 0/0
        return Losses(found.total + zero, found.parts)

    method.training_loss = training_loss
    method.after_step = lambda progress, losses, optimizers: None
    step = 8 if bad_step else 2
    message = f"parameter colors not finite at step {step} of stage 'train'; {kept}"
    with pytest.raises(ObjbenchError, match=message):
        Training(method, IMAGES, 0, tmp_path).run()
    saved = load_checkpoint(tmp_path)
    assert (saved.step if saved else None) == (4 if bad_step else None)
    assert saved is None or saved.method["colors"].isfinite().all()


def test_weights_in_a_folder_whose_name_is_not_utf_8_are_read(tmp_path):
    folder = tmp_path / os.fsdecode(b"r\xfcns")
    folder.mkdir()
    method = trained(folder)
    save_weights(method, folder)
    saved = method.colors.detach().clone()
    with torch.no_grad():
        method.colors.zero_()
    load_weights(method, folder, None)
    assert torch.equal(method.colors, saved)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"weight_decay": np.float32(0.1)}, "stepper.optimizers.0.param_groups.0.weight_decay"),
        ({"betas": (np.float64(0.9), 0.99)}, "stepper.optimizers.0.param_groups.0.betas.0"),
        ({"rule": math.sqrt}, "stepper.optimizers.0.param_groups.0.rule"),
    ],
)
def test_what_could_not_be_read_again_is_named_before_it_is_written(tmp_path, value, place):
    method = make()
    optimizers = method.optimizers

    def changed(stage):
        pairs = optimizers(stage)
        pairs[0][0].param_groups[0].update(value)
        return pairs

    method.optimizers = changed
    with pytest.raises(ObjbenchError, match=rf"holds a .* \({re.escape(place)}\), which could not be read"):
        Training(method, IMAGES, 0, tmp_path).run()
    assert not (tmp_path / "checkpoint.pt").exists()


def test_extra_state_that_could_not_be_read_again_is_named_when_it_comes(tmp_path, monkeypatch):
    method = make()  # which has such a state, sound as yet
    monkeypatch.setattr(type(method), "get_extra_state", lambda method: {"seen": [1, np.float64(2)]})
    with pytest.raises(ObjbenchError, match=r"holds a numpy\.float64 \(method\._extra_state\.seen\.1\)"):
        Training(method, IMAGES, 0, tmp_path).run()
