"""Sources, generators, metrics and their definitions by name, and the methods of plugins.

Built-ins are names that are imported on first use, all others are entry points. The class of a built-in method is said
in its block in benchmarks.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from objbench.error_line import own_line
from objbench.errors import ObjbenchError, RequestError, brief, is_out_of_memory, unknown_name

DEFAULT_DEFINITION = "clevrtex"  # of the metrics
BUILT_IN: dict[str, dict[str, str]] = {
    "sources": {
        "deepmind": "objbench.data.sources.deepmind:DeepMindSource",
        "emorl": "objbench.data.sources.emorl:EmorlSource",
        "folder": "objbench.data.sources.own.folder:FolderSource",
        "generated": "objbench.data.sources.generated:GeneratedSource",
        "official": "objbench.data.sources.clevrtex.source:OfficialSource",
        "webdataset": "objbench.data.sources.own.webdataset:WebDatasetSource",
    },
    "generators": {
        "tetrominoes": "objbench.data.generate.tetrominoes:Tetrominoes",
        "multi_dsprites": "objbench.data.generate.multi_dsprites.generator:ColoredOnGrayscale",
        "multi_dsprites_binarized": "objbench.data.generate.multi_dsprites.generator:Binarized",
        "multi_dsprites_colored": "objbench.data.generate.multi_dsprites.generator:ColoredOnColored",
        "clevr": "objbench.data.generate.clevr.generator:Clevr",
        "clevrtex": "objbench.data.generate.clevrtex.generator:ClevrTex",
    },
    "metrics": {
        "ari": "objbench.metrics.rand_index:ari",
        "ari_fg": "objbench.metrics.rand_index:ari_fg",
        "miou": "objbench.metrics.iou:miou",
        "miou_fg": "objbench.metrics.iou:miou_fg",
        "miou_gt": "objbench.metrics.iou:miou_gt",
        "dice": "objbench.metrics.iou:dice",
        "dice_fg": "objbench.metrics.iou:dice_fg",
        "mbo": "objbench.metrics.covering:mbo",
        "msc": "objbench.metrics.covering:msc",
        "msc_clevrtex": "objbench.metrics.covering:msc_clevrtex",
        "mse": "objbench.metrics.reconstruction:mse",
        "mse_sum": "objbench.metrics.reconstruction:mse_sum",
        "psnr": "objbench.metrics.reconstruction:psnr",
        "ssim": "objbench.metrics.reconstruction:ssim",
        "count_accuracy": "objbench.metrics.counting:count_accuracy",
    },
    "definitions": {
        "clevrtex": "objbench.metrics.definitions:clevrtex",
        "deepmind": "objbench.metrics.definitions:deepmind",
        "emorl": "objbench.metrics.definitions:emorl",
    },
}


@cache
def names(kind: str) -> dict[str, str]:
    """Every registered name of `kind` with its `module:attribute`.

    Args:
        kind: methods (of plugins only), sources, generators, metrics or definitions.

    Raises:
        RequestError: Two packages have one name.
    """
    return with_plugins(kind, BUILT_IN.get(kind, {}))


def with_plugins(kind: str, built_in: Mapping[str, str]) -> dict[str, str]:
    """Names of objbench itself with their `module:attribute`, and those of plugins behind them.

    Raises:
        RequestError: A plugin has the name of another one, or of objbench.
    """
    known = {name: ("objbench", target) for name, target in built_in.items()}
    for point in entry_points(group=f"objbench.{kind}"):
        package = point.dist.name if point.dist is not None else "a package without a name"
        owner, target = known.setdefault(point.name, (package, point.value))
        if target != point.value:
            raise RequestError(
                f"{owner} and {package} both have the {kind.removesuffix('s')} '{point.name}': rename that entry point, or "
                "uninstall the package"
            )
    return {name: target for name, (_, target) in known.items()}


def foreign(kind: str) -> list[str]:
    """The registered names of `kind` that come from other packages than objbench; nothing is imported."""
    points = entry_points(group=f"objbench.{kind}")
    return sorted(point.name for point in points if point.dist is None or point.dist.name != "objbench")


def get(kind: str, name: str) -> Any:
    """The registered object; nothing is imported before it is asked for."""
    known = names(kind)
    if name not in known:
        raise unknown_name(kind.removesuffix("s"), name, known)
    return load(known[name], f"{kind.removesuffix('s')} '{name}' is registered as")


def load(target: str, what: str) -> Any:
    """The object that `module:attribute` names.

    Raises:
        ObjbenchError: There is no such module or attribute, or the module fails or exits when it is imported. The message
            begins with `what` and `target`.
    """
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        own, known = own_line(error), isinstance(error, ImportError | AttributeError)
        told = brief(error) if known else f"{type(error).__name__}: {brief(error)}"
        raise ObjbenchError(f"{what} {target}: {told}{f' (at {own})' if own else ''}") from error
