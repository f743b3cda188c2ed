"""Interventions on an audited change: switched off or on part way, at other doses, a coordinate forced."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Literal

from algobias.errors import BadInput
from algobias.levers.base import Amount, Lever
from algobias.recipe import Origin, Recipe
from algobias.study.control.candidates import NAMED, Setting

DIGITS = 3
"""Significant digits of a dose."""

UNBOUNDED = 1e12
"""A neutral setting from here on stands for "without bound" (a clip): no size lies between it and another."""

Kind = Literal["switch_off", "switch_on", "dose", "force"]


@dataclass(frozen=True)
class Intervention:
    """One arm that is compared with baseline and variant.

    Attributes:
        kind: What is done.
        text: In a few words.
        recipe: What is trained.
        baseline: What it is compared with; for a forced coordinate the baseline with the same levers.
        at: Share of the planned updates before a switch.
        restart: Whether the schedule of the rate starts afresh at the switch.
        dose: Size of the change; 0 is the baseline, 1 the change as audited.
        alters_loss: Its training loss is not comparable.
    """

    kind: Kind
    text: str
    recipe: Recipe
    baseline: Recipe
    at: float | None = None
    restart: bool = False
    dose: float | None = None
    alters_loss: bool = False


def switches(
    recipes: Mapping[str, Recipe], lengths: Mapping[str, int], at: Sequence[float]
) -> list[Intervention]:
    """Transplants: the change switched off, and switched on, after a share of the planned updates.

    The weights of one recipe go on under the other one; its schedule goes on at the same share, or starts
    afresh over the rest of the updates where that is not the same (a rate that decays or warms up). The
    optimizer's memory starts afresh.

    Args:
        recipes: ``baseline`` and ``variant``.
        lengths: Updates up to the planned end of each, as audited.
        at: Shares between 0 and 1.

    Raises:
        BadInput: A share that is not between 0 and 1.
    """
    found = []
    for share in at:
        if not 0 < share < 1:
            raise BadInput("at", share, "a share of the planned updates, above 0 and below 1")
        ways: tuple[tuple[Kind, str, str, str], ...] = (
            ("switch_off", "variant", "baseline", "off"),
            ("switch_on", "baseline", "variant", "on"),
        )
        for kind, first, then, word in ways:
            for restart in (False, True):
                if (
                    restart
                    and recipes[then].schedule.name == "constant"
                    and not recipes[then].schedule.warmup
                ):
                    continue
                recipe = transplant(recipes[first], recipes[then], lengths, (first, then), share, restart)
                text = f"{word} after {100 * share:g} %" + (", schedule restarted" if restart else "")
                found.append(Intervention(kind, text, recipe, recipes["baseline"], share, restart))
    return found


def transplant(
    first: Recipe,
    then: Recipe,
    lengths: Mapping[str, int],
    names: tuple[str, str],
    share: float,
    restart: bool,
) -> Recipe:
    """``first`` for a share of its updates, then ``then`` for the rest of its own."""
    before = max(1, round(share * lengths[names[0]]))
    origin = first.edit(budget=first.budget.model_copy(update={"cut": before, "extension": None}))
    if not restart:
        start = min(round(share * lengths[names[1]]), then.planned_updates - 1)
        return then.edit(origin=Origin(recipe=origin, start=start))
    if then.budget.until is None:
        then = then.edit(budget=then.budget.scaled(1 - share, then.updates_per_epoch))
    return then.edit(origin=Origin(recipe=origin, start=0))


def doses(changes: Sequence[Lever], baseline: Recipe, shares: Sequence[float]) -> list[Intervention]:
    """The change at other sizes; those that cannot be, or are the same as another, are left out.

    Args:
        changes: The levers of the change.
        baseline: The baseline's recipe.
        shares: Sizes; 0 is no change, 1 the change itself, 0.5 its square root where it is a factor.
    """
    found: list[Intervention] = []
    whole = _applied(changes, baseline)
    seen = [baseline, whole]
    for share in shares:
        made = _dosed(changes, baseline, share)
        if made is None or made[1] in seen:
            continue
        text, recipe = made
        seen.append(recipe)
        found.append(Intervention("dose", text, recipe, baseline, dose=share))
    return found


def _applied(levers: Sequence[Lever], recipe: Recipe) -> Recipe:
    for lever in levers:
        recipe = lever.apply(recipe)
    return recipe


def _dosed(changes: Sequence[Lever], recipe: Recipe, share: float) -> tuple[str, Recipe] | None:
    """The change at this size, as spelled, and the recipe; None where no lever has a size or it cannot be."""
    levers, sized = [], False
    try:
        for lever in changes:
            one = at_dose(lever, recipe, share)
            sized = sized or one is not None
            levers.append(one or lever)
            recipe = levers[-1].apply(recipe)
    except BadInput:
        return None
    return (" then ".join(lever.spelling() for lever in levers), recipe) if sized else None


def at_dose(lever: Lever, recipe: Recipe, share: float) -> Lever | None:
    """A lever at another size, between its neutral setting (0) and its own (1) or beyond.

    Where both settings are above 0 the size is geometric, ``neutral^(1 - s) own^s``, else linear,
    ``neutral + s (own - neutral)``; whole numbers are rounded.

    Args:
        lever: The lever.
        recipe: The recipe it acts on.
        share: s.

    Returns:
        None where the lever has no size (a choice of optimizer, say), or where this size is no change.

    Example:
        >>> from algobias.levers.registry import parse
        >>> spec = {"task": "digits", "examples": 800, "optimizer": {"lr": 0.1}, "batch": 16}
        >>> recipe = Recipe(**spec, budget={"epochs": 1})
        >>> at_dose(parse("batch:x16,lr=sqrt"), recipe, 0.5).spelling()
        'batch:x4,lr=sqrt'
        >>> at_dose(parse("delay:8"), recipe, 0.5).spelling()
        'delay:4'
    """
    neutral = type(lever).neutral(recipe)
    fields = [name for name in (type(lever).positional, "p", "rho") if name in type(lever).model_fields]
    for field in fields:
        own, none = getattr(lever, str(field)), getattr(neutral, str(field))
        if own is None or none is None or isinstance(own, str | bool):
            continue
        if isinstance(none, float) and none >= UNBOUNDED:
            continue
        value: Amount | float
        if isinstance(own, Amount):
            now = 1.0 if own.relative else _present(lever, recipe)
            if now is None:
                continue
            size = _between(now, own.value, share)
            whole = not own.relative and own.value.is_integer() and now.is_integer()
            value = Amount(value=float(round(size)) if whole else size, relative=own.relative)
        elif isinstance(own, int):
            value = round(_between(float(none), float(own), share))
        else:
            value = _between(float(none), float(own), share)
        if value == none:
            return None  # rounded to no change at all
        data = {name: getattr(lever, name) for name in lever.model_fields_set}
        try:
            return type(lever).model_validate({**data, str(field): value})
        except ValueError:
            return None
    return None


def _present(lever: Lever, recipe: Recipe) -> float | None:
    """What an absolute amount replaces."""
    known = {"batch": float(recipe.batch), "lr": recipe.optimizer.lr}
    return known.get(lever.name)


def _between(neutral: float, own: float, share: float) -> float:
    geometric = neutral > 0 and own > 0
    value = neutral ** (1 - share) * own**share if geometric else neutral + share * (own - neutral)
    return float(f"{value:.{DIGITS}g}")


def forces(settings: Sequence[Setting], moved: Collection[str], most: int) -> list[Intervention]:
    """Levers that may force a coordinate back while the change stays.

    Several kinds of lever say more than several settings of one: one setting of each kind first, those kinds
    first that are known to move most of what moved; the user's own settings always.

    Args:
        settings: What can be tried here.
        moved: Probes of the coordinates that moved.
        most: At most so many, the user's own not counted.
    """
    own = [one for one in settings if one.why == NAMED]
    kinds: dict[str, list[Setting]] = {}
    for one in settings:
        if one.why != NAMED:
            kinds.setdefault(one.levers[0].name, []).append(one)
    for group in kinds.values():
        group.sort(key=lambda one: -_reach(one, moved))
        # Settings of one lever are listed from weak to strong: the middle first.
        group[:] = group[len(group) // 2 :] + group[: len(group) // 2]
    ranked = sorted(kinds.values(), key=lambda group: -_reach(group[0], moved))
    rounds = (one for row in zip_longest(*ranked) for one in row if one is not None)
    return [
        Intervention("force", one.text, one.variant, one.baseline, alters_loss=one.alters_loss)
        for one in (*own, *islice(rounds, most))
    ]


def _reach(setting: Setting, moved: Collection[str]) -> int:
    return len({name for lever in setting.levers for name in lever.card.moves} & set(moved))
