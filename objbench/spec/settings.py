"""Typed hyper-parameters: their base class, common kinds of values, and the training recipe that every method has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from objbench.errors import RequestError
from objbench.spec.explain import explain, refusal
from objbench.spec.nested import flatten
from objbench.stored import Strict


class Group(Strict):
    """A block of hyper-parameters: types, ranges and meanings. The values stand in benchmarks.yaml alone.

    Each field is either another Group or a value with a description: `width: Count = Field(description="of a slot")`.
    Unknown keys, missing keys, infinite numbers and values of another type are refused; nothing has a default.
    Relations between keys are checked by a validator, or where the network is built, with `explain.refusal`.
    """

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Counts = Annotated[list[Count], Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
PositiveOrZero = Annotated[float, Field(ge=0)]


class Recipe(Group):
    """How every method is trained and evaluated. A method with recipe keys of its own declares a subclass.

    Exactly one of `steps` and `epochs` says how long training lasts; both null: the method's stages say.
    """

    steps: Count | None = Field(description="training steps; null: epochs say how long training lasts")
    epochs: Count | None = Field(
        description="passes over the training images; null: steps say how long training lasts"
    )
    nominal_epochs: Count = Field(
        description="schedules that count epochs see this many, however short the training"
    )
    batch_size: Count = Field(description="images per training step")
    clip_norm: Positive | None = Field(
        description="largest norm of all gradients together; null: no clipping"
    )
    precision: Literal["fp32", "bf16"] = Field(description="number format of the network in training")
    stepper: Literal["auto", "plain"] = Field(
        description="auto: the fastest training step that the method has; plain: eager steps"
    )
    checkpoint_steps: Count = Field(description="steps between two checkpoints")
    checkpoint_minutes: Positive = Field(
        description="most minutes between two checkpoints; changes no result"
    )
    log_steps: Count = Field(description="steps between two lines of losses in metrics.jsonl")
    evaluations: CountOrZero = Field(
        description="how often the val split is evaluated, the last time at the end"
    )
    evaluation_batch_size: Count = Field(description="images per batch when a split is evaluated")
    evaluation_images: Count | None = Field(
        description="images of the val split that are evaluated during training; null: all"
    )


SHARED_KEYS = frozenset({"slots", *(f"recipe.{key}" for key in Recipe.model_fields)})  # of every method
AnyGroup = TypeVar("AnyGroup", bound=Group)


def parse(kind: type[AnyGroup], values: Mapping[str, Any]) -> AnyGroup:
    """The values of a configuration, typed as JSON is: a list is a tuple where the type is one, a word may be a path.

    Raises:
        RequestError: One line per mistake.
    """
    strange = [
        refusal(key, "a value of yaml", value)
        for key, value in flatten(values).items()
        if not _is_json(value)
    ]
    if strange:
        raise RequestError("\n".join(map(str, strange)))
    try:
        return kind.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise RequestError("\n".join(explain(kind, error))) from None


def _is_json(value: Any) -> bool:
    try:
        return bool(json.dumps(value, ensure_ascii=False).encode())
    except (TypeError, ValueError):  # of another type, or a word that is no text
        return False


def fields_of(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The dotted key and the field of every value in a Group and the groups in it, in their order."""
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields_of(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field
