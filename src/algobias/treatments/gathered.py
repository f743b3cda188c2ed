"""Settings of a search put together, of a task or of a command: the user's own, then what is proposed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from algobias.answer.search import MOST
from algobias.errors import BadInput

NAMED, FIXED = "named by the user", "fixed by the user"


class Candidate(Protocol):
    """One control at one setting."""

    @property
    def text(self) -> str:
        """As spelled on the command line."""

    @property
    def why(self) -> str:
        """Where it comes from."""

    @property
    def undoes(self) -> str | None:
        """How it leaves nothing of the change, or None."""

    @property
    def alters_loss(self) -> bool:
        """Whether it makes the training loss incomparable."""


S = TypeVar("S", bound=Candidate)


@dataclass(frozen=True)
class Wanted:
    """Which settings a user wants.

    Attributes:
        given: Settings the user adds.
        only: Where given, nothing but these is tried.
        forbid: Names of levers that must not be pulled.
        points: Settings among ``given`` and ``only`` that are points of a range: those that change nothing,
            undo the change or are impossible here are left out; none may be left of them.
        most: At most so many; None: :data:`MOST`, or all of the user's own where those are more.
    """

    given: Sequence[str] = ()
    only: Sequence[str] = ()
    forbid: Sequence[str] = ()
    points: Collection[str] = ()
    most: int | None = None


def gathered(
    wanted: Wanted,
    fixed: Sequence[S],
    proposed: Sequence[tuple[str, str]],
    make: Callable[[str, str, bool], S | None],
    barred: Callable[[S], str | None],
    same: Callable[[S, S], bool],
) -> tuple[S, ...]:
    """Put settings together: what is fixed alone, the user's own, proposals; each once.

    Args:
        wanted: What the user wants.
        fixed: The setting that is what is fixed and nothing else, or none.
        proposed: Settings as spelled, and why, in order; left out where only the user's own are wanted.
        make: Makes a setting of its text and why; None where it cannot be, which is an error where the third
            says that it is the user's own.
        barred: Which lever of a setting must not be pulled, or None.
        same: Whether two settings do the same.

    Raises:
        BadInput: A setting of the user's own that cannot be, more of them than ``most``, nothing to try.
    """
    chosen = dict.fromkeys((*wanted.only, *wanted.given), NAMED)
    for text, why in () if wanted.only else proposed:
        chosen.setdefault(text, why)
    settings = list(fixed)
    for text, why in chosen.items():
        setting = make(text, why, why == NAMED and text not in wanted.points)
        if setting is None:
            continue
        name = barred(setting)
        if name is not None and why == NAMED:
            raise BadInput("forbid", name, f"a lever that is not in {text}, which is to be tried")
        if name is None and not any(same(setting, other) for other in settings):
            settings.append(setting)
    if not settings and not (wanted.only and set(wanted.only) <= set(wanted.points)):
        value = ", ".join(wanted.forbid or chosen) or None
        field = "forbid" if wanted.forbid else "candidates"
        raise BadInput(field, value, "at least one control that can be tried")
    own = sum(setting.why in (NAMED, FIXED) for setting in settings)
    if wanted.most is not None and own > wanted.most:
        allowed = f"at least {own}: so many settings are named, points of ranges among them"
        raise BadInput("most", wanted.most, allowed)
    return tuple(settings[: max(MOST, own) if wanted.most is None else wanted.most])
