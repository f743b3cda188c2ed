"""A run of a finished study by name, with the weights that were kept of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from algobias.errors import BadInput, unknown_name
from algobias.kept.archive import Place, read_archive
from algobias.kept.runfiles import RunFolder
from algobias.kept.store import Store
from algobias.recipe import Recipe, recipe_from

SPELLING = "STUDY:ARM:SEED or STUDY:ARM:SEED:UPDATE (an update with kept weights, planned or last)"


@dataclass(frozen=True)
class StoredRun:
    """One moment of a run in the store.

    Attributes:
        study: Id of the study.
        arm: Its arm.
        seed: Its seed.
        update: Updates made at that moment.
        task: The task as on the command line.
        recipe: What was trained.
        weights: Kept weights of the run by update, in order.
        addresses: Addresses under which the run lies in the store.
        device: Where it was trained.
    """

    study: str
    arm: str
    seed: int
    update: int
    task: str
    recipe: Recipe
    weights: dict[int, Path]
    addresses: tuple[str, ...]
    device: str

    @property
    def earlier(self) -> list[tuple[int, Path]]:
        """Kept weights of earlier updates, in order."""
        return [(update, path) for update, path in self.weights.items() if update < self.update]


def find_run(store: Store, text: str) -> StoredRun:
    """Find ``STUDY:ARM:SEED[:UPDATE]`` in the store.

    A run that was gone on with beyond its planned end counts as one run with it, where its learning rate
    does not decay; of recipes whose rate decays, only runs of the planned length are found.

    Args:
        store: The store.
        text: The study is an id, a unique prefix or ``last``; the update a number, ``planned`` or ``last``
            (the default).

    Raises:
        BadInput: Malformed; no such study, arm, seed or update, with those there are.
    """
    study, *rest = text.split(":")
    if not study or not rest:
        raise BadInput("run", text, SPELLING)
    row = store.find_study(study)
    if "command" in row.spec:
        allowed = "a run of an audit of a task: of a command no weights are kept that could be measured"
        raise BadInput("run", text, allowed)
    archive = read_archive(row)
    places = archive.places
    if not places:
        verdict = archive.answer.verdict
        raise BadInput("run", text, f"a study with runs: {row.id} ({verdict}) has none; {_with_runs(store)}")
    arm, tail = _arm(places, rest)
    seed, moment = _seed(places, arm, tail, text)
    mine = sorted((p for p in places if (p.arm, p.seed) == (arm, seed)), key=lambda p: p.length)
    folders = [store.folder(place.address, seed) for place in mine]
    records = [(folder, folder.read_outcome()) for folder in folders]
    found = [(folder, record) for folder, record in records if record is not None]
    if not found:
        raise BadInput("run", text, "a store that still has the study's runs")
    first, (outcome, data, task) = found[0]
    recipe = recipe_from(data)
    if recipe.schedule.decays:
        planned = [pair for place, pair in zip(mine, found, strict=False) if place.length == 1]
        first, (outcome, data, task) = (planned or found)[0]
        recipe, found = recipe_from(data), [(first, (outcome, data, task))]
    weights = _weights([folder for folder, _ in found])
    end = int(outcome.curve.update[outcome.planned])
    return StoredRun(
        study=row.id,
        arm=arm,
        seed=seed,
        update=_update(weights, moment, end, text),
        task=task,
        recipe=recipe,
        weights=weights,
        addresses=tuple(folder.address for folder, _ in found),
        device=str(row.spec.get("device", "cpu")),
    )


def _with_runs(store: Store) -> str:
    """Which studies have runs, the newest first."""
    found = []
    for row in reversed(store.studies()):
        with suppress(BadInput):  # one that is not finished, or damaged
            if read_archive(row).places:
                found.append(row.id)
    return (
        f"{', '.join(found[:5])} {'has' if len(found) == 1 else 'have'} some"
        if found
        else "none here has any"
    )


def _arm(places: tuple[Place, ...], rest: list[str]) -> tuple[str, list[str]]:
    """The arm (its own name may have a colon) and what follows it."""
    arms = {place.arm for place in places}
    for count in range(len(rest), 0, -1):
        name = ":".join(rest[:count])
        if name in arms:
            return name, rest[count:]
    raise unknown_name("arm", rest[0], arms)


def _seed(places: tuple[Place, ...], arm: str, tail: list[str], text: str) -> tuple[int, str]:
    seeds = sorted({place.seed for place in places if place.arm == arm})
    if not tail or len(tail) > 2:
        raise BadInput("run", text, f"{SPELLING}; {arm} has the seeds {_listed(seeds)}")
    if not tail[0].isdecimal() or int(tail[0]) not in seeds:
        raise BadInput("run", text, f"a seed of {arm}: {_listed(seeds)}")
    return int(tail[0]), tail[1] if len(tail) == 2 else "last"


def _weights(folders: list[RunFolder]) -> dict[int, Path]:
    kept: dict[int, Path] = {}
    for folder in folders:
        kept |= {update: path for update, path in folder.weights().items() if update not in kept}
    return dict(sorted(kept.items()))


def _update(weights: dict[int, Path], moment: str, planned: int, text: str) -> int:
    if not weights:
        raise BadInput("run", text, "a run with kept weights; this one has none")
    wanted = {"last": max(weights), "planned": planned}.get(moment)
    if wanted is None and moment.isdecimal():
        wanted = int(moment)
    if wanted not in weights:
        raise BadInput(
            "run", text, f"last, planned, or an update with kept weights: {_listed(list(weights))}"
        )
    return wanted


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:20]))
    return shown + (f" and {len(numbers) - 20} more" if len(numbers) > 20 else "")
