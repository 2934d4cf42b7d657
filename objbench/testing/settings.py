"""Checks of a method's settings and stages."""

from __future__ import annotations

from objbench.errors import RequestError
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
    """Each stage has either steps or epochs; `Method` checks what else `stages` gives."""
    for stage in kit.stages:
        stage.check_length()
