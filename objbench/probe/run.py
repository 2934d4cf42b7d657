"""Probe the slots of a finished run, beside those of its untrained model and what its masks alone say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from objbench.data.read.scenes import Scenes
from objbench.errors import RequestError
from objbench.methods.base import Method
from objbench.methods.plain_block import described
from objbench.probe.codes import Codes, codes, most_objects
from objbench.probe.probe import Probe, Split, train
from objbench.probe.scoring import FactorScores, Score
from objbench.probe.targets import targets
from objbench.progress import Say, bar
from objbench.records import Run, read_run
from objbench.scores import FactorScore, Matching, ProbeName, ProbeScores, probe_name
from objbench.spec.schema import Spec
from objbench.train.reevaluate import load_run, refuse_other_size, split_key, untrained_run
from objbench.train.run_data import scored
from objbench.train.run_folder import lock_run


@dataclass(frozen=True)
class ProbeRequest:
    """What to probe, and how.

    Attributes:
        probe: Which probe.
        matching: How slots are paired with objects.
        factors: Which factors; None for those that the dataset names.
        n_train: At most so many training scenes, the first ones.

    Raises:
        RequestError: There are no names among the factors.
    """

    probe: ProbeName
    matching: Matching
    factors: tuple[str, ...] | None
    n_train: int

    def __post_init__(self) -> None:
        if self.factors == ():
            raise RequestError("--factors: no name of a factor")

    @property
    def name(self) -> str:
        """The name of its scores in a record: PROBE, or PROBE+loss."""
        return probe_name(self.probe, self.matching)


class _Models(NamedTuple):
    """Whose slots are read, on the device of the scenes.

    Attributes:
        trained: The model of the run.
        untrained: The same with its first weights; None where there was no training, or they are not known.
        trivial: Whether it has no weights, so that its masks say all that its slots do.
        objects: The most objects of a scene.
        seed: Of the run.
    """

    trained: Method
    untrained: Method | None
    trivial: bool
    objects: int
    seed: int

    def views(self, scenes: Scenes) -> dict[str, Codes]:
        """What is read of the scenes: "slots", "masks" (moments of the masks) and "untrained" slots."""
        slots = self._codes("slots", self.trained, scenes)
        found = {"slots": slots, "masks": None if self.trivial else slots.from_masks()}
        if self.untrained is not None:
            found["untrained"] = self._codes("untrained slots", self.untrained, scenes)
        return {name: view for name, view in found.items() if view is not None}

    def _codes(self, what: str, model: Method, scenes: Scenes) -> Codes:
        with bar(f"{what} of {scenes.spec} {scenes.split}", len(scenes), "images") as advance:
            return codes(model, scenes, self.seed, self.objects, model.recipe.evaluation_batch_size, advance)


def probe_run(
    folder: Path,
    spec: Spec,
    load: Callable[[Run], tuple[Scenes, Iterable[Scenes]]],
    request: ProbeRequest,
    say: Say = print,
) -> tuple[list[str], Run]:
    """Fit probes to the slots of a run on training scenes, score them on test scenes, and add them to its record.

    Args:
        folder: Of a finished run, which is locked while its record changes.
        spec: The benchmarks.
        load: Gives the train split of the run's dataset and the test scenes, all on one device.
        request: What to probe.
        say: Is told if the train split is not the one that the run was trained on; the untrained model, whose first
            weights may depend on it, is left out then.

    Returns:
        The keys of the scores in `probes` of the record, as in its `metrics`; and the record.

    Raises:
        RequestError: The run has no slots, or the scenes have no such factors or another size.
    """
    with lock_run(folder):
        record = read_run(folder)
        whole, tests = load(record)
        learn, tests = whole.select(slice(request.n_train)), list(tests)
        for scenes in tests:
            targets(scenes, 1, request.factors)  # before anything is computed
        models = _models(folder, record, spec, whole, (learn, *tests), say)
        factors = targets(learn, models.objects, request.factors)
        probes = {
            name: train(request.probe, request.matching, Split(view, factors), record.seed)
            for name, view in models.views(learn).items()
        }
        keys = []
        for scenes in tests:
            factors = targets(scenes, models.objects, request.factors)
            found = {
                name: (probes[name], Split(view, factors)) for name, view in models.views(scenes).items()
            }
            made = _scores(found, request, learn, scenes, record.seed)
            keys.append(split_key(record, scenes, spec))
            record = record.with_probe(keys[-1], request.name, made)
        record.save(folder)
    return keys, record


def _models(
    folder: Path, record: Run, spec: Spec, whole: Scenes, read: Sequence[Scenes], say: Say
) -> _Models:
    """The models of a run for the scenes that are `read`; `whole`: the train split."""
    method = load_run(folder, record, spec)
    for scenes in read:
        refuse_other_size(folder, method, scenes)
    trivial = described(spec, record.method, record.implementation).trivial
    learns = not trivial and bool(method.stages())
    own = scored(whole).fingerprint == record.fingerprint
    if learns and not own:
        say(
            f"{folder} was trained on other scenes than the train split of {whole.spec} that is prepared here, which the "
            "probe learns from; the untrained model is left out: prepare the split of the training to have it"
        )
    device = whole.images.device
    first = untrained_run(folder, record, spec, whole.images).to(device) if learns and own else None
    objects = max(most_objects(scenes) for scenes in read)
    return _Models(method.to(device), first, trivial, objects, record.seed)


def _scores(
    found: Mapping[str, tuple[Probe, Split]], request: ProbeRequest, learn: Scenes, scenes: Scenes, seed: int
) -> ProbeScores:
    scored_by = {name: probe.score(split) for name, (probe, split) in found.items()}
    main, split = found["slots"]
    result = scored_by["slots"]
    shares = main.dci(split, result.pairs, seed)
    nothing = FactorScores({}, {})
    beside = {
        name: scored_by[name].probe if name in scored_by else nothing for name in ("masks", "untrained")
    }
    return ProbeScores(
        probe=request.probe,
        matching=request.matching,
        n_train=len(learn),
        train_fingerprint=scored(learn).fingerprint,
        n_images=len(scenes),
        n_objects=result.n_objects,
        missed=result.missed,
        factors=_rows(
            result.probe.factors,
            result.majority.factors,
            {name: found.factors for name, found in beside.items()},
        ),
        means=_rows(
            result.probe.means,
            result.majority.means,
            {name: found.means for name, found in beside.items()},
        ),
        constant=list(main.constant),
        disentanglement=_known(shares.disentanglement),
        completeness=_known(shares.completeness),
        scored=scored(scenes),
    )


def _rows(
    probe: Mapping[str, Score], majority: Mapping[str, Score], beside: Mapping[str, Mapping[str, Score]]
) -> dict[str, FactorScore]:
    """The score of each factor, or mean, with the others beside it; `beside`: empty where there is no such model."""
    return {
        name: FactorScore(
            measure=score.measure,
            score=_known(score.value),
            interval=score.interval,
            majority=_known(majority[name].value),
            **{
                other: _known(values[name].value) if name in values else None
                for other, values in beside.items()
            },
        )
        for name, score in probe.items()
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
