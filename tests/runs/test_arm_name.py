"""Names of arms: read and spelled the same way everywhere."""

from __future__ import annotations

import pytest

from algobias.runs.arm_name import ArmName, under_control


@pytest.mark.parametrize(
    ("text", "kind", "control"),
    [
        ("baseline", "baseline", None),
        ("rate_only", "rate_only", None),
        ("variant+control:0", "variant", 0),
        ("baseline+control:12", "baseline", 12),
        ("variant+sam:0.1", "variant+sam:0.1", None),
        ("mine+control:", "mine+control:", None),
        ("a:b", "a:b", None),
    ],
)
def test_a_name_is_read_and_spelled(text: str, kind: str, control: int | None) -> None:
    name = ArmName.parse(text)
    assert name == (kind, control)
    assert str(name) == text


def test_under_a_control() -> None:
    assert under_control("variant", 3) == "variant+control:3"
