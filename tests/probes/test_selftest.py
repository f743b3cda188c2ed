"""The self-test: right answers pass, a wrong probe of any kind does not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from algobias.cli import main
from algobias.probes import selftest as module
from algobias.probes.known_answers import CASES, margins
from algobias.probes.reading import Unavailable
from algobias.probes.registry import PROBES, parse
from algobias.probes.selftest import run, selftest

SPELLINGS = sorted({spelling for make in CASES for spelling in make().expected})


def test_everything_is_right_on_this_machine():
    found = run()
    assert [line for line in found["lines"] if not line["ok"]] == []
    assert found["ok"]
    assert json.dumps(found, allow_nan=False)


def test_every_cheap_probe_has_a_known_answer():
    cheap = {name for name, cls in PROBES.items() if cls.card.preset == "cheap"}
    assert {spelling.partition(":")[0] for spelling in SPELLINGS} >= cheap


def planted(spelling, wrong):
    """``parse`` with the reading of one probe changed."""

    def read(text):
        probe = parse(text)
        if text != spelling:
            return probe
        kind = type(probe)

        def reads(self, subject):
            return wrong(kind.read(self, subject))

        return type("Wrong", (kind,), {"read": reads, "__module__": kind.__module__})(**probe.model_dump())

    return read


def unavailable(reading):
    raise Unavailable("it will not say")


WRONG = {
    "twice": lambda reading: replace(reading, value=2 * reading.value),
    "half": lambda reading: replace(reading, value=reading.value / 2),
    "negative": lambda reading: replace(reading, value=-reading.value),
    "not a number": lambda reading: replace(reading, value=float("nan")),
    "doubtful": lambda reading: replace(reading, status="not_converged", reason="of some reason"),
    "unavailable": unavailable,
}


@pytest.fixture
def only(monkeypatch):
    """Leave only the problems that ask for one probe, and no delay."""

    def choose(spelling):
        concerned = tuple(make for make in CASES if spelling in make().expected)
        monkeypatch.setattr(module, "CASES", concerned)
        monkeypatch.setattr(module, "_delay", list)

    return choose


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_wrong_probe_fails_its_lines_and_no_others(spelling, only):
    only(spelling)
    for name, wrong in WRONG.items():
        if name not in ("twice", "half") and spelling != "weight_norm":
            continue
        lines = selftest(planted(spelling, wrong))
        assert {line.quantity for line in lines if not line.ok} == {spelling}, name
        assert not any(line.ok for line in lines if line.quantity == spelling), name


def test_an_interval_that_misses_the_answer_fails(only):
    only("trace:tolerance=0.15")

    def narrow(reading):
        value = 1.05 * reading.value
        drawn = replace(reading.monte_carlo, low=value, high=value)
        return replace(reading, value=value, monte_carlo=drawn)

    lines = [
        line
        for line in selftest(planted("trace:tolerance=0.15", narrow))
        if line.quantity.startswith("trace")
    ]
    assert len(lines) == 3
    assert not any(line.ok for line in lines)
    assert "its interval is" in lines[0].reason


def test_a_probe_that_is_missing_fails(only):
    only("weight_norm")

    def read(text):
        return parse(text if text != "weight_norm" else "weight_nrom")

    (line,) = [line for line in selftest(read) if line.quantity == "weight_norm"]
    assert (line.ok, line.found, line.reason) == (False, None, "there is no such probe")


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.02, 1)])
def test_the_command_says_so_by_its_exit_code(monkeypatch, capsys, factor, code):
    real = module._judged

    def judged(case, spelling, expected, tolerance, reading):
        return real(case, spelling, factor * expected, tolerance, reading)

    monkeypatch.setattr(module, "CASES", (margins,))
    monkeypatch.setattr(module, "_judged", judged)
    for words in (["selftest"], ["selftest", "--json"], ["selftest", "--quiet"]):
        monkeypatch.setattr("sys.argv", ["algobias", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert int(ended.value.code or 0) == code
        out = capsys.readouterr().out
        if "--json" in words:
            assert json.loads(out)["ok"] is (code == 0)
        elif "--quiet" in words:
            assert out == ""
        else:
            assert ("FAIL" in out) is (code == 1)
            assert "margin_raw" in out
