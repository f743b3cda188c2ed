"""Several optimizers used as one, as for a module whose parts are stepped differently."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.optim.optimizer import StateDict

from algobias.components.wrapper import Wrapper
from algobias.errors import BadInput


class Several(Wrapper):
    """Several optimizers as one: their groups together, stepped one after the other."""

    def __init__(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        self.optimizers = list(optimizers)
        if not self.optimizers:
            raise BadInput("optimizer", "[]", "an optimizer, or several")
        super().__init__(self.optimizers[0])

    def inside(self) -> list[torch.optim.Optimizer]:
        """All of them."""
        return self.optimizers

    @property
    def param_groups(self) -> list[StateDict]:  # type: ignore[override]
        """The groups of all of them."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    @property
    def state(self) -> Mapping[Tensor, StateDict]:  # type: ignore[override]
        """What each of them remembers."""
        return {key: value for optimizer in self.optimizers for key, value in optimizer.state.items()}

    def add_param_group(self, param_group: StateDict) -> None:
        """Refuse: which of the optimizers it is for cannot be known."""
        raise BadInput("param_group", "for several optimizers", "one for one of them")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, or fill them with zeros."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none)

    def _update(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def state_dict(self) -> StateDict:
        """The states of all of them."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            BadInput: The state of another number of optimizers.
        """
        states = state_dict["optimizers"]
        if len(states) != len(self.optimizers):
            raise BadInput("optimizers", len(states), f"the states of {len(self.optimizers)}")
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)
