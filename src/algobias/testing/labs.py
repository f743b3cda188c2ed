"""Checks of a lab: theory and training agree, and table, pictures and words are complete."""

from __future__ import annotations

import json
from collections.abc import Callable

from algobias.labs.base import Lab, LabResult
from algobias.testing.expect import expect

LabCheck = Callable[[Lab, LabResult], None]


def check_lab(lab: Lab, seed: int = 0) -> None:
    """Run a lab twice and make every check of it.

    Args:
        lab: The lab, with options that make it short.
        seed: Seed of what is random in it.

    Raises:
        AssertionError: A check fails; the message says what was expected.
    """
    result = lab.run(seed)
    for check in LAB_CHECKS:
        check(lab, result)
    expect(lab.run(seed).rows == result.rows, "the same seed gives the same rows")


def training_agrees_with_theory(lab: Lab, result: LabResult) -> None:
    """Every check of the lab agrees, and is not theory compared with itself."""
    expect(result.checks, "a lab compares training with theory at least once")
    for check in result.checks:
        expect(
            check.agrees,
            f"{check.name}: off by {check.largest:g} at {check.where}, {check.tolerance:g} may be",
        )
        expect(check.largest > 0, f"{check.name}: real steps leave a difference; 0 is theory against itself")
        expect(check.where, f"{check.name}: says where it is largest")


def words_are_there(lab: Lab, result: LabResult) -> None:
    """It says what is shown, what the theory says, and whose it is, with the year."""
    expect(result.name == lab.name, "the result has the lab's name")
    expect(result.spelling == lab.spelling(), "the result has the lab's spelling")
    expect(len(result.shown) > 200, "shown tells a newcomer what is seen, in some sentences")
    expect(len(result.theory) > 200, "theory says what the theory says, in some sentences")
    years = [any(char.isdigit() for char in source) for source in result.sources]
    expect(years and all(years), "sources are papers with their years")


def table_is_complete(lab: Lab, result: LabResult) -> None:
    """Every row has the columns, each once."""
    names = [column.name for column in result.columns]
    expect(len(set(names)) == len(names), "column names differ")
    expect(result.rows, "there are rows")
    expect(all(set(row) == set(names) for row in result.rows), "every row has a cell for each column")


def pictures_are_complete(lab: Lab, result: LabResult) -> None:
    """Every picture has theory and training, no empty series, and every kind of mark is explained."""
    expect(result.panels, "there is a picture")
    kinds = {series.kind for panel in result.panels for series in panel.series}
    expect(
        kinds == {kind for kind, _ in result.marks}, "marks explains the kinds that are drawn, and only those"
    )
    for panel in result.panels:
        drawn = {series.kind for series in panel.series}
        expect({"theory", "training"} <= drawn, f"{panel.title}: theory and training are both drawn")
        expect(all(series.points for series in panel.series), f"{panel.title}: every series has points")


def json_is_plain(lab: Lab, result: LabResult) -> None:
    """The result is plain JSON, without NaN."""
    answer = json.loads(json.dumps(result.as_json(), allow_nan=False))
    expect(answer["options"] == lab.model_dump(mode="json"), "options are those of the lab")


LAB_CHECKS: tuple[LabCheck, ...] = (
    training_agrees_with_theory,
    words_are_there,
    table_is_complete,
    pictures_are_complete,
    json_is_plain,
)
