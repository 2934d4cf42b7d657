"""All predictions of a finished run for its test split, as a file that `objbench evaluate` reads like anybody's."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from torch import Tensor

from objbench.data.scene import Array
from objbench.errors import is_of_the_content
from objbench.files import check_space, replacing
from objbench.methods.create import build
from objbench.progress import bar
from objbench.records import Run
from objbench.spec.datasets import TEST
from objbench.spec.resolve import MethodConfig
from objbench.train.checkpoint import load_weights
from objbench.train.evaluate import segmented
from objbench.train.run_data import RunData

PREDICTIONS = "predictions.npz"
_BYTES = 1 + 3 * 4  # per pixel: a label, and three channels of float32


def keep_predictions(folder: Path, record: Run, method: MethodConfig, data: RunData) -> Path:
    """Write predictions.npz into the folder of a finished run, unless the file of these weights is there, undamaged.

    It holds `masks` (N,H,W), the label maps that were scored, `keys` (N,), and of methods that reconstruct
    `reconstruction` float32 (N,3,H,W), not clamped, with `unclamped` (N,) to say so. Before compression that is 1 or 13
    bytes per pixel: 5 MB for the 320 test scenes of tetrominoes, 1.1 GB for the 5,000 of clevrtex. The images are
    segmented again with the weights of the run, which on the CPU gives what was scored.

    Args:
        folder: Of the run, whose lock is held.
        record: Its record.
        method: Its configuration.
        data: Its data.
    """
    path, scenes = folder / PREDICTIONS, data.tests[TEST]
    origin = f"weights {record.weights_sha256}, seed {record.seed}, test split {record.scored[TEST].fingerprint}".encode()
    if _is_whole(path, origin):
        return path
    check_space(
        folder, _BYTES * scenes.masks.numel(), "the predictions need", "or leave out --keep predictions"
    )
    model = build(method, data.dataset).to(data.device).eval()
    load_weights(model, folder, record.weights_sha256)
    parts: dict[str, list[Array]] = {"masks": [], "reconstruction": []}
    with bar("keeping predictions", len(scenes), "images") as advance:
        for _, _, keys, found in segmented(model, scenes, record.seed, model.recipe.evaluation_batch_size):
            parts["masks"].append(_small(found.prediction).cpu().numpy())
            if found.reconstruction is not None:
                parts["reconstruction"].append(found.reconstruction.float().cpu().numpy())
            advance(len(keys))
    arrays = {name: np.concatenate(values) for name, values in parts.items() if values}
    if "reconstruction" in arrays:
        arrays["unclamped"] = np.ones(len(scenes), bool)  # a model that learned little leaves [0,1] by far
    with replacing(path) as partial:
        with partial.open("wb") as file:
            np.savez_compressed(file, keys=np.array(scenes.keys), **arrays)  # type: ignore[arg-type]
        with zipfile.ZipFile(partial, "a") as archive:
            archive.comment = origin
    return path


def _is_whole(path: Path, origin: bytes) -> bool:
    """Whether the file is undamaged and its comment says `origin`."""
    if not path.exists():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == origin and archive.testzip() is None
    except Exception as error:  # damaged bytes raise errors of many kinds
        if not is_of_the_content(error):
            raise
        return False


def _small(labels: Tensor) -> Tensor:
    """Label maps as uint8 where that holds them."""
    return labels.byte() if int(labels.max()) < 256 else labels
