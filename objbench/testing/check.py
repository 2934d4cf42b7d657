"""Any registered method, built-in or not, against the method contract."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from objbench.testing import segmentation, settings, training
from objbench.testing.kit import Kit, promised

Check = Callable[[Kit], None]


def check_method(
    name: str | os.PathLike[str],
    dataset: str,
    *,
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> list[str]:
    """Check the method `METHOD[:VARIANT]` for `dataset` against the contract.

    It is trained for a few steps on a few random scenes of the dataset's size; no data needs to be prepared.

    Args:
        name: METHOD[:VARIANT], or FILE.py[:CLASS[:VARIANT]] for a method from a plain file.
        dataset: DATASET[@PROTOCOL].
        config: a yaml file of your own, laid over benchmarks.yaml.
        overrides: values by dotted keys, to make a large method small.
        device: a device to which the method is moved, as a further check; a CUDA device by default, if there is one.

    Returns:
        The names of the checks that passed.

    Raises:
        ContractError: the first broken promise; in the words of an error that the method raised, with the name of the
            check and the line of the method.
        RequestError: an unknown name or key, or a value that the method refuses.

    Example:
        >>> check_method("grid", "tetrominoes")[:3]
        ['settings', 'stages', 'segmentation']
    """
    kit = Kit(os.fspath(name), dataset, config, dict(overrides or {}), device)
    passed = []
    for check in _checks(kit):
        name = check.__name__.removeprefix("check_")
        with promised(f"check '{name}'"):
            check(kit)
        passed.append(name)
    return passed


def _checks(kit: Kit) -> list[Check]:
    checks: list[Check] = [
        settings.check_settings,
        settings.check_stages,
        segmentation.check_segmentation,
        segmentation.check_batch_size_does_not_matter,
        segmentation.check_scores,
        segmentation.check_segment_changes_nothing,
        segmentation.check_other_slots,
        segmentation.check_bad_input,
    ]
    if kit.stages:
        with promised("capture_key"):
            captured = training.captured(kit)
        checks += [
            training.check_optimizers,
            training.check_losses,
            training.check_gradients,
            training.check_determinism,
            training.check_resume,
        ]
        if captured:
            checks.append(training.check_captured_steps)
    checks.append(segmentation.check_save_and_load)
    if kit.device:
        checks.append(training.check_device_moves)
    return checks
