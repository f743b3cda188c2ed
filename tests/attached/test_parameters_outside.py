"""Levers that exchange weights, on trainers that use parameters outside of their modules' calls."""

from __future__ import annotations

from pathlib import Path

from attached.scripts import HEAD, Ran, run

BARE = (
    HEAD
    + """
W = nn.Parameter(torch.randn(12, 12)); net = nn.Linear(12, 4)
weights = [W, *net.parameters()]
optimizer = torch.optim.SGD(weights, lr=0.1)
{before}
for step in range(6):
    rows = torch.randperm(96)[:32]
    optimizer.zero_grad()
    {training}
    optimizer.step()
    with torch.no_grad():
        print(net(X).square().sum().item())
print(*(w.double().sum().item() for w in weights))
"""
)
BEFORE_THE_CALL = "F.cross_entropy(net(torch.tanh(X[rows] @ W)), Y[rows]).backward()"
AFTER_THE_CALL = "(F.cross_entropy(net(X[rows]), Y[rows]) + 0.1 * (X[rows] @ W).square().mean()).backward()"
NO_MODULE = "F.cross_entropy((X[rows] @ W)[:, :4], Y[rows]).backward()"
MEASURED_BETWEEN = """loss = F.cross_entropy(net(torch.tanh(net(X[rows]).repeat(1, 3))), Y[rows])
    with torch.no_grad(): {measured}
    loss.backward()"""
IN_A_CLOSURE = """def closure():
        optimizer.zero_grad(); loss = F.cross_entropy(net(X[rows]), Y[rows]); loss.backward(); return loss
    optimizer.step(closure)"""

BY_HAND = """past = []
def old():
    past.append([w.detach().clone() for w in weights])
    again()
def again():
    for w, value in zip(weights, past[max(0, len(past) - 3)]): w.data.copy_(value)
def new():
    for w, value in zip(weights, past[-1]): w.data.copy_(value)
"""


def injected(folder: Path, training: str, lever: str = "delay:2", **options: object) -> Ran:
    ran = run(folder, BARE.format(before="", training=training), levers=(lever,), **options)
    assert ran.code == 0, ran.err
    return ran


def plainly(folder: Path, training: str, before: str = "") -> Ran:
    return run(folder, BARE.format(before=before, training=training), attach=False)


def test_weights_used_too_early_are_never_of_another_age(tmp_path: Path) -> None:
    ran = injected(tmp_path / "a", BEFORE_THE_CALL)
    assert "before any trained module is called" in ran.refused()["delay:2"]
    assert ran.applied() == {"delay:2": 0}
    assert ran.out == plainly(tmp_path / "b", BEFORE_THE_CALL).out


def test_a_delay_without_any_module_says_so(tmp_path: Path) -> None:
    assert "no module that the optimizer trains" in injected(tmp_path, NO_MODULE).refused()["delay:2"]


def test_parameters_used_after_the_call_have_its_age(tmp_path: Path) -> None:
    ran = injected(tmp_path / "a", AFTER_THE_CALL)
    assert ran.refused() == {}
    assert ran.applied() == {"delay:2": 5}
    hand = plainly(tmp_path / "b", f"old(); {AFTER_THE_CALL}; new()", BY_HAND)
    assert ran.out == hand.out, hand.err
    assert ran.out != plainly(tmp_path / "c", AFTER_THE_CALL).out


def test_an_evaluation_before_the_backward_pass_takes_nothing_away(tmp_path: Path) -> None:
    shown = "print(net(X).sum().item())"
    ran = injected(tmp_path / "a", MEASURED_BETWEEN.format(measured=shown))
    hand = MEASURED_BETWEEN.replace("loss =", "old(); loss =").format(measured=f"new(); {shown}; again()")
    by_hand = plainly(tmp_path / "b", f"{hand}; new()", BY_HAND)
    assert ran.refused() == {}
    assert ran.out == by_hand.out, by_hand.err


def test_the_age_in_a_closure_is_that_outside_of_one(tmp_path: Path) -> None:
    source = BARE.replace("    optimizer.step()\n", "")
    ran = run(tmp_path / "a", source.format(before="", training=IN_A_CLOSURE), levers=("delay:2",))
    hand = IN_A_CLOSURE.replace("loss =", "old(); loss =").replace("return", "new(); return")
    by_hand = run(tmp_path / "b", source.format(before=BY_HAND, training=hand), attach=False)
    assert ran.refused() == {}
    assert ran.out == by_hand.out, by_hand.err
    late = run(tmp_path / "c", source.format(before="", training=IN_A_CLOSURE), levers=("delay:2,after=2",))
    assert late.refused() == {}
    assert late.applied() == {"delay:2,after=2": 3}


def test_averages_of_parameters_of_no_module_are_refused(tmp_path: Path) -> None:
    ran = injected(tmp_path / "a", BEFORE_THE_CALL, "ema:0.5")
    assert "belongs to no module" in ran.refused()["ema:0.5"]
    assert ran.out == plainly(tmp_path / "b", BEFORE_THE_CALL).out


def test_averages_that_nobody_evaluates_say_so(tmp_path: Path) -> None:
    source = BARE.replace("with torch.no_grad():", "if step > 9:").replace("[W, *net", "[*net")
    source = source.format(before="", training="F.cross_entropy(net(X[rows]), Y[rows]).backward()")
    whole = run(tmp_path / "a", source, levers=("ema:0.5",))
    assert "nothing is evaluated" in whole.refused()["ema:0.5"]
    short = run(tmp_path / "b", source, levers=("ema:0.5",), stop_after=3)
    assert short.refused() == {}
