"""The JSON form of answers: what is read is written again byte for byte, what is misshapen is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from algobias.answer.answer import Answer
from algobias.answer.control import ControlEntry
from algobias.answer.interval import Interval

ROOT = Path(__file__).parents[2]
RESULTS = [path for path in sorted((ROOT / "cases").rglob("*.json")) if path.stem != "baselines"]


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_there_are_committed_results() -> None:
    assert len(RESULTS) > 40


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_committed_result_is_written_as_it_was_read(path: Path) -> None:
    data = read(path)
    answer = Answer.from_json(data)
    assert json.dumps(answer.to_json()) == json.dumps(data)
    assert answer.verdict == data["verdict"]
    assert not answer._unknown


def test_keys_of_another_version_are_carried_along_in_their_place() -> None:
    data = {"mean": 1, "of_a_later_version": {"x": [1, None]}, "n": 3}
    assert json.dumps(Interval.from_json(data).to_json()) == json.dumps(data)
    changed = Interval.from_json(data).changed(n=4, low=0.5)
    assert list(changed.to_json().items()) == [*{**data, "n": 4, "low": 0.5}.items()]


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("gap", "mean"), "x", "mean of gap is 'x'"),
        (("gap",), [1], "gap of result is '[1]'"),
        (("gap", "n"), 2.5, "n of gap is '2.5'"),
        (("fit", "bias_share", "low"), True, "low of bias_share is 'True'"),
        (("fit", "levels"), {}, "levels of fit is '{}'"),
        (("arms", 0, "seeds", 0), "one", "seeds of arms is 'one'"),
        (("arms", 0, "cost", "flops"), float("nan"), "flops of cost is 'nan'"),
        (("controls", 0, "cost_ratio", "variant", "updates"), "dear", "updates of variant is 'dear'"),
        (("controls", 0, "other"), "no", "other of controls is 'no'"),
        (("moved", 0), None, "moved of result is 'None'"),
        (("moved", 0, "probe"), 3, "probe of moved is '3'"),
        (("readings", "trajectories", 0, "points", 0), None, "points of trajectories is 'None'"),
        (("schema",), "1", "schema of result is '1'"),
        (("verdict",), 7, "verdict of result is '7'"),
    ],
)
def test_a_result_of_another_shape_is_refused_by_the_name_of_its_field(
    place: tuple[str | int, ...], value: object, says: str
) -> None:
    data = copy.deepcopy(read(ROOT / "cases" / "P5.json"))
    inner: Any = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        Answer.from_json(data)
    assert str(refused.value) == says


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ValueError, match="result is no object"):
        Answer.from_json([])


def test_an_answer_is_frozen_and_has_no_other_fields() -> None:
    entry = ControlEntry(lever="sam:0.1")
    with pytest.raises(ValidationError):
        entry.lever = "ema:0.9"  # type: ignore[misc]
    with pytest.raises(TypeError, match="leever"):
        entry.changed(leever="ema:0.9")
    assert entry.to_json() == {"lever": "sam:0.1"}
    assert not entry.has("verdict")
