"""A metric that a script tells rounded: no spread of seeds is below its rounding, nor a tolerance."""

from __future__ import annotations

from pathlib import Path

import pytest
from quick_slots import Quick, here
from test_command_study import METRIC, question

from algobias.commands.numbers.sources import Source
from algobias.controls.run import run_control
from algobias.controls.spec import control_spec
from algobias.errors import BadInput
from algobias.kept.store import Store
from algobias.running.trainer import Options
from algobias.studies.audited import audit_of
from algobias.studies.command.options import CommandOptions
from algobias.studies.command.run import run_command

WHOLE = r"stdout:update (?P<update>\d+) .* test (?P<value>\d+)"
"""The digits in front of the point alone, as of a script that prints a percentage without any behind it."""


@pytest.mark.parametrize(
    ("line", "digit"), [("91", 1.0), ("91.50", 0.01), ("9e-3", 1e-3), ("91%", 1.0), ("nan", 0.0)]
)
def test_the_last_written_digit(tmp_path: Path, line: str, digit: float) -> None:
    output = tmp_path / "out"
    output.write_text(f"test {line}\n")
    (value,) = Source.parse(r"stdout:test (\S+)", "--metric").values(output, tmp_path, tmp_path, "--metric")
    assert value.digit == pytest.approx(digit)


def test_seeds_that_are_rounded_alike_are_not_taken_for_certainty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Quick(here).install(monkeypatch)
    with Store(tmp_path) as store:
        found = run_command(question(metric=WHOLE, args=("--bias=5",), looks=(3,)), store).answer
        fine = run_command(question(metric=METRIC, args=("--bias=5",), looks=(3,)), store).answer
        row = audit_of(store, found.study)
        spec = control_spec({"only": ("args: --cure=1",), "rungs": (2,), "looks": (6,)})
        controlled = run_control(row, spec, store, Options(1)).answer
    assert (found.resolution, controlled.resolution) == (1.0, 1.0)
    assert fine.resolution is not None
    assert 0 < fine.resolution < 0.1
    # Rounding alone has a variance of 1/6 for each difference.
    assert found.gap.low is not None
    assert found.gap.high is not None
    assert found.gap.high - found.gap.low >= 2 * 4.3 * (1 / 6 / 3) ** 0.5


def test_a_tolerance_below_the_last_digit_is_refused_before_the_seeds_are_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Quick(here).install(monkeypatch)
    asked = question(metric=WHOLE, args=("--bias=5",), looks=(3,), tolerance=0.4)
    with Store(tmp_path) as store:
        with pytest.raises(BadInput, match=r"grid is coarser than the tolerance: .* in steps of 1,"):
            run_command(asked, store)
        assert len(quick.done) == 1
        answer = run_command(asked, store, CommandOptions(force=True)).answer
    assert any("grid is coarser than the tolerance" in warning for warning in answer.warnings)
