"""A reading is written and read again as it is, what was not finite aside."""

from __future__ import annotations

import json
import math

import pytest

from algobias.answer.measured.reading import Cost, Interval, Reading, Twin

WHOLE = Reading(
    "trace:k=4",
    3,
    "loss",
    status="not_converged",
    reason="slow: 4 of 8",
    numerical=Interval(2.5, 3.5, None, "exact"),
    monte_carlo=Interval(2.0, 4.0, 0.95, "random vectors"),
    cost=Cost(1.0, 2.0, 3.0, 0.5),
    definition="sum of eigenvalues",
    reference="Hutchinson 1990",
    twin=Twin("trace times squared norm", 6.0, 5.0, None, "scale"),
    parts={"layer 1": 1.0},
    details={"threshold": 2.0},
    warnings=("skewed",),
)


@pytest.mark.parametrize(
    "reading",
    [
        WHOLE,
        Reading("weight_norm", None, "1", status="unavailable", reason="no weights"),
        Reading("x", 0.1, ""),
    ],
)
def test_a_reading_comes_back_as_it_was(reading: Reading) -> None:
    text = json.dumps(reading.to_json(), allow_nan=False)
    again = Reading.from_json(json.loads(text))
    assert again == reading
    assert json.dumps(again.to_json()) == text


def test_what_was_not_finite_is_no_number_again() -> None:
    reading = Reading(
        "x", 1.0, "", twin=Twin("y", math.inf, None, None, ""), subset=Interval(0, math.inf, 0.9, "")
    )
    again = Reading.from_json(reading.to_json())
    assert again.twin is not None
    assert again.subset is not None
    assert math.isnan(again.twin.value)
    assert math.isnan(again.subset.high)


@pytest.mark.parametrize(
    "odd", [{"status": "fine"}, {"value": "x"}, {"value": True}, {"cost": {}}, {"twin": {}}]
)
def test_a_reading_of_another_shape_is_refused(odd: dict[str, object]) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        Reading.from_json({**WHOLE.to_json(), **odd})
