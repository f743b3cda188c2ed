"""What a part says of its place among the parts of a recipe, and of what it divides and multiplies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from typing import ClassVar

from algobias.errors import BadInput
from algobias.levers.division import Division
from algobias.levers.lever import Lever
from algobias.own.returns import Returns, truth
from algobias.recipe_fields import PartSpec
from algobias.spelling import validate_options


class Arranged(Lever):
    """A lever that stands somewhere among the parts of a recipe; where, follows from what is said here."""

    promised: ClassVar[Mapping[str, Returns]] = {
        **Lever.promised,
        **dict.fromkeys(
            (
                "one_gradient_each",
                "wants_one_gradient",
                "cannot_follow",
                "shards_examples",
                "draws_from_all",
            ),
            truth(),
        ),
        "divisions": Returns("a tuple of Divisions", lambda value, owner: _divisions(value)),
        "multiplied": Returns("a whole number above 0", lambda value, owner: _above_zero(value)),
    }

    @property
    def one_gradient_each(self) -> bool:
        """Whether it hands on a gradient for each worker, not their mean."""
        return False

    @property
    def wants_one_gradient(self) -> bool:
        """Whether it works on one gradient, which no earlier part has shared out among workers."""
        return False

    def cannot_follow(self, earlier: Arranged) -> bool:
        """Whether it has no place after another part of a recipe."""
        return earlier.one_gradient_each and self.wants_one_gradient

    @property
    def shards_examples(self) -> bool:
        """Whether every worker has examples of its own, from which alone it may draw."""
        return False

    @property
    def draws_from_all(self) -> bool:
        """Whether it draws other examples, from all there are."""
        return False

    def divisions(self, batch: int) -> tuple[Division, ...]:
        """Equal parts that it makes of its examples in a recipe with this batch."""
        return ()

    def multiplied(self, factor: int) -> int:
        """By what a batch is multiplied after this part, where it was multiplied by ``factor`` before."""
        return factor


def _divisions(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, Division) for one in value)


def _above_zero(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) > 0


def part_from(spec: PartSpec) -> Arranged | None:
    """Make the part that a recipe names, of whatever revision.

    Returns:
        The part; None where no part has this name or these options, which is refused where it is built.
    """
    named = (cls for cls in _kinds(Arranged) if getattr(cls, "name", None) == spec.name)
    # of a user's file there may be several versions
    kind = next((cls for cls in named if spec.source is None or cls.revision == spec.revision), None)
    if kind is None:
        return None
    try:
        return validate_options(kind, dict(spec.options))
    except BadInput:
        return None


def _kinds(cls: type[Arranged]) -> Iterator[type[Arranged]]:
    """All classes of parts, those made of others too."""
    for kind in cls.__subclasses__():
        yield kind
        yield from _kinds(kind)


def known_parts(specs: Iterable[PartSpec]) -> list[Arranged]:
    """Make the parts that a recipe names, as far as there are such."""
    return [part for part in map(part_from, specs) if part is not None]
