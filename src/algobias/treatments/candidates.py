"""Which settings a search tries: proposed by the change's card and by what moved, or named by the user."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from algobias.answer.measured.moved import MovedCoordinate
from algobias.coordinates.readings import TWIN
from algobias.errors import BadInput
from algobias.levers.base import Lever
from algobias.levers.registry import lever_class, parse_many
from algobias.recipe import Recipe
from algobias.running.sameness import UNDOES, alike, undoing
from algobias.treatments.fixed import Held
from algobias.treatments.gathered import FIXED, Wanted, gathered

GENERAL = ("sam:0.05", "sam:0.1", "sam:0.2", "lr:x0.5", "lr:x2", "ema:0.99", "weight_decay:1e-3")
"""Settings that are tried against any change, after those of its own card."""


@dataclass(frozen=True)
class Setting:
    """One control at one setting.

    Attributes:
        text: As spelled on the command line.
        levers: Its levers, in order.
        variant: Recipe of the variant with it.
        baseline: Recipe of the baseline with it.
        why: Where it comes from.
        undoes: How it leaves nothing of the change, or None.
    """

    text: str
    levers: tuple[Lever, ...]
    variant: Recipe
    baseline: Recipe
    why: str
    undoes: str | None = None

    @property
    def alters_loss(self) -> bool:
        """Whether it makes the training loss incomparable."""
        return any(lever.card.alters_loss for lever in self.levers)


def candidates(
    changes: Sequence[Lever],
    recipes: Mapping[str, Recipe],
    moved: Iterable[MovedCoordinate],
    *,
    given: Sequence[str] = (),
    only: Sequence[str] = (),
    forbid: Sequence[str] = (),
    fix: Sequence[str] = (),
    points: Collection[str] = (),
    most: int | None = None,
) -> tuple[Setting, ...]:
    """The settings to try, in order of expected gain for their cost.

    The user's own come first. Then those of the change's card and those for any change, ordered by how many
    of the coordinates that moved their levers are known to move, per gradient evaluation; ties as listed.
    Where levers are fixed, each setting is those levers and then its own, and the fixed ones alone are the
    first setting; a proposal that would undo them is left out. So is one that undoes the change: it gives
    back what the change was made for, and repairs nothing. The user's own may do so, and say it.

    Args:
        changes: The levers of the change.
        recipes: ``baseline`` and ``variant``.
        moved: What moved, as a study answers it.
        given: Settings the user adds.
        only: Where given, nothing but these is tried.
        forbid: Names of levers that must not be pulled, ``path/to/file.py:Name`` too.
        fix: Levers that every setting has.
        points: Settings among ``given`` and ``only`` that are points of a range: those that change nothing,
            undo the change or are impossible here are left out; none may be left of them.
        most: At most so many; None: :data:`MOST`, or all of the user's own where those are more.

    Raises:
        BadInput: An unknown lever, a setting that changes nothing, is impossible here or undoes what is
            fixed, fixed levers that undo the change, more settings of the user's own than ``most``, nothing
            to try.
    """
    forbidden = _named(forbid)
    held = Held.of(fix, recipes)
    for lever in held.levers:
        if (lever.name, lever.source) in forbidden:
            raise BadInput("forbid", lever.name, f"a lever that is not in {held.text}, which is fixed")
    own = [(text, f"against {lever.name}") for lever in changes for text in lever.card.controls]
    proposed = [*own, *((text, "against any change") for text in GENERAL)]
    names = {shift.probe.removesuffix(TWIN) for shift in moved if shift.status == "moved"}
    parsed = {text: parse_many(text) for text, _ in proposed} if not only else {}
    ranked = sorted(proposed, key=lambda pair: -_worth(parsed[pair[0]], names)) if not only else []

    def barred(setting: Setting) -> str | None:
        pulled = (lever.name for lever in setting.levers if (lever.name, lever.source) in forbidden)
        return next(pulled, None)

    return gathered(
        Wanted(given, only, forbid, points, most),
        fixed_alone(held),
        ranked,
        lambda text, why, own: _setting(text, parsed.get(text), held, why, own),
        barred,
        lambda first, second: alike(first.variant, second.variant) and alike(first.baseline, second.baseline),
    )


def _named(forbid: Sequence[str]) -> set[tuple[str, str | None]]:
    """Name and file of levers that must not be pulled.

    Raises:
        BadInput: There is no such lever.
    """
    found: set[tuple[str, str | None]] = set()
    for name in forbid:
        try:
            cls = lever_class(name)
        except BadInput as error:
            if error.field != "lever":
                raise
            raise BadInput("forbid", error.value, error.allowed, error.nearest) from error
        found.add((cls.name, cls.source))
    return found


def fixed_alone(held: Held) -> tuple[Setting, ...]:
    """The setting that is what is fixed and nothing else; none where nothing is."""
    if not held.levers:
        return ()
    return (Setting(held.text, held.levers, held.variant, held.baseline, FIXED),)


def _setting(
    text: str, parsed: tuple[Lever, ...] | None, held: Held, why: str, wanted: bool
) -> Setting | None:
    """The setting, or None where a proposed one does not fit these recipes."""
    try:
        levers = parse_many(text) if parsed is None else parsed
        made = {"variant": held.variant, "baseline": held.baseline}
        for lever in levers:
            made = {name: lever.apply(recipe) for name, recipe in made.items()}
        for name, recipe in made.items():
            undone = held.undone_by(name, recipe)
            if undone is not None:
                raise BadInput("candidates", text, f"a control that leaves what is fixed as it is ({undone})")
    except BadInput:
        if wanted:
            raise
        return None
    # The baseline may stay as it is: a rule that undoes the change has nothing to do there.
    if alike(made["variant"], held.variant):
        if wanted:
            raise BadInput("candidates", text, "a control that changes the variant's recipe")
        return None
    every = (*held.levers, *levers)
    undoes = undoing(every, held.plain["baseline"], held.plain["variant"], made["variant"])
    if undoes is not None and undoes.startswith(UNDOES) and not wanted:
        return None
    return Setting(held.with_setting(text), every, made["variant"], made["baseline"], why, undoes)


def _worth(levers: Sequence[Lever], moved: set[str]) -> float:
    """(1 + coordinates that moved and that they are known to move) per gradient evaluation."""
    known = {coordinate for lever in levers for coordinate in lever.card.moves}
    cost = max(lever.gradients_per_example() for lever in levers)
    return (1 + len(known & moved)) / cost
