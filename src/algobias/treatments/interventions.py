"""Interventions on an audited change: switched off or on part way, at other doses, a coordinate forced."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Literal

from algobias.errors import BadInput
from algobias.levers.base import Lever
from algobias.levers.size import NoShare
from algobias.recipe import Origin, Recipe
from algobias.running.sameness import alike, touched
from algobias.treatments.candidates import Setting
from algobias.treatments.gathered import NAMED

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["switch_off", "switch_on", "dose", "force", "alone", "repaired"]


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
        members: What a lever that is pulled is made of: names of its levers and of what they set. Two that
            share one are one piece of evidence. Empty where the change itself is undone.
        undoes: How a lever that is pulled leaves nothing of the change, or None.
        piece: Which piece of the change is made alone, or undone alone.
    """

    kind: Kind
    text: str
    recipe: Recipe
    baseline: Recipe
    at: float | None = None
    restart: bool = False
    dose: float | None = None
    alters_loss: bool = False
    members: frozenset[str] = frozenset()
    undoes: str | None = None
    piece: str | None = None


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


@dataclass(frozen=True)
class Doses:
    """The change at other sizes.

    Attributes:
        made: One intervention for each size.
        left_out: (size, why) of those that are not made; a size of None stands for all.
    """

    made: tuple[Intervention, ...]
    left_out: tuple[tuple[float | None, str], ...] = ()


def doses(changes: Sequence[Lever], baseline: Recipe, shares: Sequence[float]) -> Doses:
    """The change at other sizes; those that cannot be, or are the same as another, are left out.

    Every lever of the change says itself what a share of it is; a change with a lever of which there is no
    share has no sizes, since at none of it that lever would still be there.

    Args:
        changes: The levers of the change.
        baseline: The baseline's recipe.
        shares: Sizes; 0 is no change, 1 the change itself.

    Example:
        >>> from algobias.levers.registry import parse
        >>> spec = {"task": "digits", "examples": 800, "optimizer": {"lr": 0.1}, "batch": 16}
        >>> found = doses([parse("batch:x16,lr=sqrt")], Recipe(**spec, budget={"epochs": 1}), (0.5, 2))
        >>> found.made[0].text, [size for size, why in found.left_out]
        ('batch:x4,lr=sqrt', [2])
    """
    found: list[Intervention] = []
    left_out: list[tuple[float | None, str]] = []
    seen = {"the baseline": baseline, "the variant": _applied(changes, baseline)}
    for share in shares:
        try:
            text, recipe = _dosed(changes, baseline, share)
        except NoShare as error:
            return Doses((), ((None, str(error)),))
        except BadInput as error:
            left_out.append((share, str(error)))
            continue
        same = next((name for name, other in seen.items() if alike(other, recipe)), None)
        if same is not None:
            left_out.append((share, f"the same as {same}"))
            continue
        seen[f"dose {share:g}"] = recipe
        found.append(Intervention("dose", text, recipe, baseline, dose=share))
    return Doses(tuple(found), tuple(left_out))


def _applied(levers: Sequence[Lever], recipe: Recipe) -> Recipe:
    for lever in levers:
        recipe = lever.apply(recipe)
    return recipe


def _dosed(changes: Sequence[Lever], recipe: Recipe, share: float) -> tuple[str, Recipe]:
    """The change at this size, as spelled, and the recipe.

    Each lever's share starts from what the shares of those before it have made of the baseline: at none of
    the change that is the baseline, at all of it the variant.
    """
    levers = []
    for lever in changes:
        try:
            levers.append(lever.share(share, recipe))
        except NoShare as error:
            raise NoShare(f"{lever.spelling()}: {error}") from error
        recipe = levers[-1].apply(recipe)
    return " then ".join(lever.spelling() for lever in levers), recipe


def pieces(changes: Sequence[Lever], baseline: Recipe, net: nn.Module) -> list[Intervention]:
    """Each piece of the change made alone, and each undone alone, while the other levers of the change stay.

    A fixed design: which pieces there are follows from the change and the network alone.

    Args:
        changes: The levers of the change.
        baseline: The baseline's recipe.
        net: Its network, before any surgery.
    """
    found = []
    for place, lever in enumerate(changes):
        before = _applied(changes[:place], baseline)
        for piece in lever.pieces(before, net):
            ways: tuple[tuple[Kind, Lever], ...] = (("alone", piece.alone), ("repaired", piece.repaired))
            for kind, other in ways:
                recipe = _applied([*changes[:place], other, *changes[place + 1 :]], baseline)
                text = f"{piece.text} {'alone' if kind == 'alone' else 'repaired alone'}"
                found.append(Intervention(kind, text, recipe, baseline, piece=piece.text))
    return found


def forces(
    settings: Sequence[Setting], variant: Recipe, moved: Collection[str], most: int
) -> list[Intervention]:
    """Levers that may force a coordinate back while the change stays.

    Several kinds of lever say more than several settings of one: one setting of each kind first, those kinds
    first that are known to move most of what moved; the user's own settings always. Settings that share a
    member are of one kind. A lever of the user's own that leaves nothing of the change forces nothing back:
    it is kept, without members, and counts like a smaller dose.

    Args:
        settings: What can be tried here.
        variant: The recipe they are pulled on.
        moved: Probes of the coordinates that moved.
        most: At most so many, the user's own not counted.
    """
    members = {one.text: members_of(one, variant) for one in settings}
    own = [one for one in settings if one.why == NAMED]
    kinds: list[list[Setting]] = []
    for one in settings:
        if one.why == NAMED or one.undoes is not None:
            continue
        group = next((each for each in kinds if members[each[0].text] & members[one.text]), None)
        if group is None:
            kinds.append([one])
        else:
            group.append(one)
    for group in kinds:
        group.sort(key=lambda one: -_reach(one, moved))
        # Settings of one lever are listed from weak to strong: the middle first.
        group[:] = group[len(group) // 2 :] + group[: len(group) // 2]
    ranked = sorted(kinds, key=lambda group: -_reach(group[0], moved))
    rounds = (one for row in zip_longest(*ranked) for one in row if one is not None)
    return [
        Intervention(
            "force",
            one.text,
            one.variant,
            one.baseline,
            alters_loss=one.alters_loss,
            members=frozenset() if one.undoes else members[one.text],
            undoes=one.undoes,
        )
        for one in (*own, *islice(rounds, most))
    ]


def members_of(setting: Setting, variant: Recipe) -> frozenset[str]:
    """Names of a setting's levers and of what they set in the variant's recipe."""
    return frozenset(lever.name for lever in setting.levers) | touched(variant, setting.variant)


def _reach(setting: Setting, moved: Collection[str]) -> int:
    return len({name for lever in setting.levers for name in lever.card.moves} & set(moved))
