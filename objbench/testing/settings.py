"""Checks of a method's settings and stages."""

from __future__ import annotations

from objbench.errors import RequestError
from objbench.methods.base import Stage
from objbench.methods.create import method_class
from objbench.spec.nested import deep_merge, flatten, unflatten
from objbench.spec.settings import fields_of, parse
from objbench.testing.kit import ContractError, Kit, demand


def check_settings(kit: Kit) -> None:
    """Every setting has a description, and a value of no type is refused by the setting's name."""
    kind = method_class(kit.config.method, kit.config.implementation).Settings
    silent = [key for key, field in fields_of(kind) if not field.description]
    demand(not silent, f"settings without a description: {', '.join(silent)}")
    for key in flatten(kit.config.config):
        try:
            parse(kind, deep_merge(kit.config.config, unflatten({key: [None]})))  # a value of no type
        except RequestError as error:
            demand(key in str(error), f"the refusal of {key}=[None] does not name it: {error}")
        else:
            raise ContractError(f"{key}=[None] is not refused: give it a type in Settings")


def check_stages(kit: Kit) -> None:
    """Stages have different names, a batch size, and either steps or epochs."""
    for stage in kit.method().stages():
        demand(isinstance(stage, Stage), f"stages() gave a {type(stage).__name__}, expected Stage")
        one = (stage.steps is None) != (stage.epochs is None)
        demand(one, f"stage '{stage.name}' has to have either steps or epochs")
        demand(stage.batch_size > 0, f"stage '{stage.name}' has batch size {stage.batch_size}")
    names = [stage.name for stage in kit.method().stages()]
    demand(len(set(names)) == len(names), f"stage names repeat: {names}")
