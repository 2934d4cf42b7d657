"""Which runs the miniature is made of, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from objbench.errors import unknown_name
from objbench.spec.datasets import GENERATED
from objbench.spec.resolve import MethodConfig, parse_assignments, resolve
from objbench.spec.schema import Spec
from objbench.train.run_folder import seed_folder

ALIGNED, STRIPED = "tetrominoes@aligned", "tetrominoes@striped"
SMALL_CLEVR, COLORED = "clevr_small", "clevr_small@colored"
SPRITES, APART = "multi_dsprites_binarized", "multi_dsprites_binarized@apart"
MADE_FOR = {
    "spair": SPRITES,
    "gnm": APART,
    "space": APART,
    "genesis_v2": SMALL_CLEVR,
    "comet": SMALL_CLEVR,
    "genesis": STRIPED,
    "slate": STRIPED,
}  # the others: ALIGNED
SEEDS = {"objmae": 5}
OTHER_SEEDS = 3
STABLE = "objmae:stable"
ABLATIONS = tuple(
    f"objmae:{variant}"
    for variant in ("no_object_entropy", "no_pixel_entropy", "no_entropy", "no_masking", "code_weights")
)
STABILITY_SEEDS = 10  # of objmae and objmae:stable: enough to compare how many succeed
# objmae as small as its preset `demo`, with the schedule of the paper: its ramps in full length.
SMALL = (
    "recipe.steps=3000",
    "recipe.precision=bf16",
    "recipe.batch_size=32",
    "recipe.clip_norm=1.0",
    "recipe.evaluations=5",
    "model.width=48",
    "model.depth=3",
    "model.decoder_width=64",
    "schedule.learning_rate=1.5e-3",
)


class Run(NamedTuple):
    """One seed of METHOD[:VARIANT] on DATASET[@PROTOCOL]."""

    method: str
    dataset: str
    seed: int
    settings: tuple[str, ...] = ()

    def resolved(self, spec: Spec) -> MethodConfig:
        """Its configuration."""
        return resolve(spec, self.method, spec.dataset(self.dataset), parse_assignments([*self.settings]))

    def folder(self, spec: Spec) -> Path:
        """Its folder under those of the runs and of the results."""
        return seed_folder(Path(), self.dataset, GENERATED, self.resolved(spec).label, self.seed)


class Command(NamedTuple):
    """One `objbench run`: methods on a dataset, with the same number of seeds and the same settings."""

    methods: tuple[str, ...]
    dataset: str
    seeds: int
    settings: tuple[str, ...] = ()

    @property
    def runs(self) -> list[Run]:
        """Its runs, all seeds of a method together."""
        return [
            Run(method, self.dataset, seed, self.settings)
            for method in self.methods
            for seed in range(self.seeds)
        ]

    @property
    def options(self) -> list[str]:
        """The words after `objbench run`, but for places and launcher."""
        settings = [word for setting in self.settings for word in ("--set", setting)]
        where = ["--dataset", self.dataset, "--source", GENERATED, "--seeds", str(self.seeds)]
        return [*self.methods, *where, *settings]


def demos(spec: Spec) -> Iterator[Command]:
    """Every method's preset `demo`: on the lattice, on the small CLEVR and on the dataset it is made for.

    objmae:small is run on the small CLEVR in colours, which it has settings for. The trivial methods stand beside them on each dataset, with one seed.
    """
    trivial = tuple(name for name, method in spec.methods.items() if method.trivial)
    presets = {
        name: method.variants["demo"] for name, method in spec.methods.items() if "demo" in method.variants
    }
    for dataset in dict.fromkeys([ALIGNED, *MADE_FOR.values()]):
        here = [
            name
            for name, preset in presets.items()
            if dataset in (ALIGNED, SMALL_CLEVR, MADE_FOR.get(name), *preset.datasets)
        ]
        yield Command(trivial, dataset, 1)
        for seeds in sorted({SEEDS.get(name, OTHER_SEEDS) for name in here}, reverse=True):
            names = [name for name in here if SEEDS.get(name, OTHER_SEEDS) == seeds]
            yield Command(tuple(f"{name}:demo" for name in names), dataset, seeds)
    yield Command(trivial, COLORED, 1)
    yield Command(("objmae:small",), COLORED, SEEDS["objmae"], ("recipe.precision=bf16",))


def ablations(spec: Spec) -> Iterator[Command]:
    """objmae, objmae:stable, the ablations of Tables 4 to 6 and the entropy weights of the authors' code, all small.

    The ablations have the schedule of objmae:stable, as most seeds of objmae fail at this size. objmae and objmae:stable
    are compared on a set with textures too.
    """
    yield Command(("objmae", STABLE), ALIGNED, STABILITY_SEEDS, SMALL)
    stable = spec.methods["objmae"].variants["stable"].config["schedule"]
    schedule = (f"schedule.{key}={value}" for key, value in stable.items())
    yield Command(ABLATIONS, ALIGNED, SEEDS["objmae"], (*SMALL, *schedule))
    yield Command(("objmae", STABLE), STRIPED, STABILITY_SEEDS, SMALL)


PARTS = {"demos": demos, "ablations": ablations}


def chosen(commands: Iterator[Command], only: list[str]) -> list[Command]:
    """The commands with those methods alone that `only` names as METHOD or METHOD:VARIANT; with all if it is empty.

    Raises:
        RequestError: One of them is in no command.
    """
    listed = list(commands)
    known = dict.fromkeys(method for command in listed for method in command.methods)
    for name in only:
        if not any(name in _names(method) for method in known):
            raise unknown_name(
                "method of this part of the miniature",
                name,
                dict.fromkeys(n for m in known for n in _names(m)),
            )
    found = []
    for command in listed:
        methods = tuple(method for method in command.methods if not only or {*_names(method)} & {*only})
        if methods:
            found.append(command._replace(methods=methods))
    return found


def _names(method: str) -> tuple[str, str]:
    """METHOD and METHOD:VARIANT."""
    return method.partition(":")[0], method
