"""What a user should know of a lever before pulling it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from algobias.card_fields import flag, text, texts
from algobias.errors import BadInput

Place = Literal["init", "data", "labels", "gradients", "statistics", "weights", "readout", "budget"]
"""Where a lever acts itself (everything downstream of it then differs as well).

``init``: the untrained network. ``data``: which examples an update draws, or their inputs. ``labels``: the
labels of the same examples.
``gradients``: the gradient at the same weights on the same batch. ``statistics``: the buffers after the
same forward pass. ``weights``: the step taken with the same gradient. ``readout``: the weights that are
evaluated, where those that are trained stay the same. ``budget``: the planned end.
"""

Need = Literal["batch_norm", "images", "precision"]
"""What a task, or a recipe, must have for a lever to act."""


OF_THE_CATALOGUE = "only levers of the catalogue can be injected"


@dataclass(frozen=True)
class Card:
    """What a user should know before pulling a lever.

    Attributes:
        summary: One sentence: what it does.
        saves: What it makes cheaper, or "nothing".
        costs: What it makes dearer, or "nothing".
        injected: What injecting it into a training script equals (``algobias run --change``); empty where it
            cannot be.
        not_injected: Why it cannot, and which way there is instead; empty where it can.
        acts_on: The places where it acts itself, over all its settings (the activity check looks there).
        moves: Coordinates of the bias it is known to move.
        not_when: When it is known not to help, or to hurt.
        references: Paper and year.
        examples: Spellings for the command line; the first is the working setting of the tests. Together
            they act in every place of ``acts_on``.
        gradients: Gradient evaluations per example drawn, at the first example; 1 changes nothing.
        alters_data: It removes training examples: a gap at matched fit is then ``data``.
        alters_loss: It makes the training loss incomparable: arms are matched on the training metric.
        needs: What must be there for it to act: ``batch_norm`` layers, ``images`` as inputs, a change of
            ``precision``.
        controls: Settings worth trying against it, where it is a change and not a control; in the spelling
            of ``--control``.
    """

    summary: str
    saves: str
    costs: str
    acts_on: tuple[Place, ...]
    moves: tuple[str, ...]
    not_when: str
    references: tuple[str, ...]
    examples: tuple[str, ...]
    gradients: float = 1.0
    alters_data: bool = False
    alters_loss: bool = False
    needs: tuple[Need, ...] = ()
    controls: tuple[str, ...] = ()
    injected: str = ""
    not_injected: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be shown or used.

        Raises:
            BadInput: The first field with something in it that is not allowed.
        """
        text(self, "summary", "saves", "costs", "not_when", "injected", "not_injected")
        if self.injected and self.not_injected:
            raise BadInput("card.not_injected", self.not_injected, "nothing, where the lever can be injected")
        if not self.injected and not self.not_injected:
            object.__setattr__(self, "not_injected", OF_THE_CATALOGUE)
        texts(self, "acts_on", get_args(Place))
        texts(self, "needs", get_args(Need))
        for name in ("moves", "references", "examples", "controls"):
            texts(self, name)
        flag(self, "alters_data", "alters_loss")
        number = isinstance(self.gradients, int | float) and not isinstance(self.gradients, bool)
        if not (number and 0 < self.gradients < math.inf):
            given = "None" if self.gradients is None else self.gradients
            raise BadInput("card.gradients", given, "a number above 0: gradients per example drawn")
        if not self.examples:
            raise BadInput("card.examples", (), "at least one spelling, like jitter:0.1")
