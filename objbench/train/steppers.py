"""Which training step a stage gets."""

from __future__ import annotations

from objbench.methods.base import Method, Stage, Stepper
from objbench.train.batches import StageScenes
from objbench.train.cuda_graph import CudaGraphStepper
from objbench.train.plain import PlainStepper


def choose_stepper(method: Method, scenes: StageScenes, stage: Stage) -> Stepper:
    """The stepper of a stage.

    With `recipe.stepper` "auto": the method's own one, else a CUDA graph on CUDA if the method allows it. Otherwise, and
    where several processes share a batch, the plain one.
    """
    share = scenes.share
    if method.recipe.stepper == "auto" and share is None:
        own = method.stepper(scenes, stage)
        if own is not None:
            return own
        if scenes.images.is_cuda and method.capture_key(scenes.progress(0)) is not None:
            return CudaGraphStepper(method, scenes, stage)
    return PlainStepper(method, scenes, stage, share)
