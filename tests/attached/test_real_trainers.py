"""Shapes of real trainers: seen to the last bit, left as they are, and SAM injected is SAM by hand."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

import algobias
from algobias.attached.events import Metric
from algobias.attached.orders import FitOrders
from algobias.commands.numbers.inside import Told, the_metric
from algobias.errors import BadInput
from algobias.studies.compare import Comparison
from attached.scripts import Ran, run
from attached.trainers import EXAMPLES, NEEDS, SHAPES, SHORT, Shape

MODULES = {
    "transformers": "transformers.trainer",
    "accelerate": "accelerate",
    "lightning": "lightning.pytorch",
}
LOADED = tuple(module for name, module in MODULES.items() if importlib.util.find_spec(name) is not None)
if "accelerate" not in LOADED:
    LOADED = tuple(module for module in LOADED if module != MODULES["transformers"])


def weights(ran: Ran) -> list[str]:
    """The hashes that a script says at its end."""
    assert ran.code == 0, ran.err
    return sorted(line for line in ran.out.splitlines() if "weights " in line)


def metrics(ran: Ran) -> list[float]:
    """The metrics that a script prints."""
    return [float(line.split()[1]) for line in ran.out.splitlines() if line.startswith("metric ")]


def skip_without(needs: tuple[str, ...]) -> None:
    """Skip where a library is not installed."""
    missing = [name for name in needs if importlib.util.find_spec(name) is None]
    if missing:
        way = "it is in no extra of ours" if "fastai" in missing else "pip install 'algobias[trainers]'"
        pytest.skip(f"{' and '.join(missing)} not installed: {way}")


def test_every_trainer_is_seen_and_left_as_it_is(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for number, (name, shape) in enumerate(SHAPES.items()):
        with subtests.test(name):
            skip_without(shape.needs)
            look_at(shape, tmp_path / str(number))


def test_every_example_writes_curves_that_can_be_compared(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for name, needs in NEEDS.items():
        with subtests.test(name):
            skip_without(needs)
            source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
            folder = tmp_path / name
            for seed in (0, 1):
                words = ("--seed", str(seed), "--out", "out", *SHORT.get(name, ("--epochs", "2")))
                ran = run(folder, source, *words, attach=False, loaded=LOADED)
                assert ran.code == 0, ran.err
            shutil.copytree(folder / "out", folder / "copy")
            compared = algobias.compare(folder / "out", folder / "copy", tolerance=1.0)
            assert isinstance(compared, Comparison)
            assert compared.answer.verdict == "not_applied"
            assert compared.answer.arms[0].seeds == (0, 1)
            losses = compared.answer.arms[0].train_loss
            assert losses.mean is not None
            assert losses.sd, "two seeds, two losses"


def look_at(shape: Shape, folder: Path) -> None:
    plain = run(folder / "plain", shape.plain, attach=False, loaded=LOADED)
    fit = FitOrders(keep=str(folder / "fit.pt"), examples=32)
    null = run(folder / "null", shape.plain, loaded=LOADED, fit=fit, replay=True, null_control=True)
    assert weights(null) == weights(plain)
    assert metrics(null) == metrics(plain)
    told = Told(null.events)
    if shape.refusal is not None:
        assert refused(told) == {"sam:0": shape.refusal}
    else:
        assert refused(told) == {}
        assert told.times_applied("sam:0") == shape.updates
    assert null.end.updates == shape.updates
    losses = told.losses()
    assert losses
    assert losses[-1].exact
    assert losses[-1].update == shape.updates
    printed = [float(line.split()[1]) for line in plain.out.splitlines() if line.startswith("loss ")]
    if printed:  # a step calls its closure several times: the examples count once
        assert [loss.value for loss in losses] == printed
        assert {loss.examples for loss in losses} == {64}
    if shape.metric is not None:
        heard = [event.value for event in null.events.of(Metric) if event.name == shape.metric]
        assert heard[-1] == metrics(plain)[-1]
        assert found(null) in (shape.metric, f"auto:{shape.metric}")
    if shape.sharp is not None:
        by_hand = run(folder / "hand", shape.sharp, attach=False, loaded=LOADED)
        injected = run(folder / "sam", shape.plain, loaded=LOADED, levers=("sam:0.1",))
        assert refused(Told(injected.events)) == {}
        assert weights(injected) == weights(by_hand) != weights(plain)


def refused(told: Told) -> dict[str, str]:
    """What was refused in the process that trained."""
    return {event.what: event.why for event in told.refusals}


def found(ran: Ran) -> str:
    """The metric that ``auto`` takes, or the first that it proposes."""
    try:
        return the_metric(Told(ran.events))
    except BadInput as question:
        proposed = question.allowed.partition(": ")[2].split(", ")
        return next(name for name in proposed if not name.endswith("loss"))
