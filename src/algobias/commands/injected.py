"""Levers that are to be injected into a command: read, or refused with the way there is instead."""

from __future__ import annotations

from algobias.errors import BadInput


def check_injected(spelling: str) -> None:
    """Refuse levers that cannot be injected.

    Args:
        spelling: One, or several joined by ``+``.

    Raises:
        BadInput: A lever of the catalogue that cannot be, with its card's reason; an unknown name, an
            unknown option, a value out of range.
    """
    # Imported where it is needed: what can be injected is read with torch.
    from algobias.attached.levers.registry import LEVERS as INJECTED
    from algobias.attached.levers.registry import names_in, read
    from algobias.levers.registry import LEVERS

    for name in names_in(spelling):
        if name not in INJECTED and name in LEVERS:
            allowed = f"one that can be injected ({', '.join(INJECTED)}). {name} cannot: "
            raise BadInput("lever", name, allowed + LEVERS[name].card.not_injected)
    read(spelling)
