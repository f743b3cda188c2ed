"""What nanoGPT, Megatron and torchtitan print, by the layout of their sources, among other lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from curves import ARMS, CHECKS, SEEDS, STEPS, train_loss, val_loss
from judged_fixtures import mean_gap

from algobias.errors import BadInput
from algobias.kept.tables import Terms
from algobias.logs.arm import Reading, read_arm
from algobias.studies.compare import compare_tables

END = CHECKS * STEPS


def nanogpt(arm: str, seed: int) -> list[str]:
    lines = ["tokens per iteration will be: 16,384", "number of parameters: 10.65M", "compiling the model..."]
    for step in range(END + 1):
        loss, val = train_loss(arm, seed, step), val_loss(arm, seed, step)
        if step % STEPS == 0:
            lines += [
                f"step {step}: train loss {loss:.4f}, val loss {val:.4f}",
                f"saving checkpoint to out-{seed}",
            ]
        lines.append(f"iter {step}: loss {loss + 0.1:.4f}, time 25.31ms, mfu 17.42%")
    return lines


def megatron(arm: str, seed: int) -> list[str]:
    lines = ["  seq_length ...................................... 2048", "training ..."]
    for step in range(1, END + 1):
        loss, val = train_loss(arm, seed, step), val_loss(arm, seed, step)
        lines.append(
            f" [2024-07-01 10:00:00] iteration {step:8d}/{END:8d} | consumed samples: {step * 256:12d} | "
            f"elapsed time per iteration (ms): 139.4 | learning rate: 1.5E-05 | global batch size:   256 | "
            f"lm loss: {loss:.6E} | loss scale: 1.0 | grad norm: 0.811 | number of skipped iterations:   0 | "
            "number of nan iterations:   0 |"
        )
        if step % STEPS == 0:
            told = (
                f" validation loss at iteration {step} | lm loss value: {val:.6E} | lm loss PPL: 8.1E+00 | "
            )
            lines += ["-" * 80, told, "-" * 80]
    lines.append(
        f" validation loss at iteration {END} on test set | lm loss value: 9.9E+00 | lm loss PPL: 1.0E+01 | "
    )
    return lines


def torchtitan(arm: str, seed: int) -> list[str]:
    lines = [
        "[rank0]:[titan] 2025-06-16 22:30:48,735 - root - INFO - [GC] Initial GC collection. 0.06 seconds."
    ]
    for step in range(1, END + 1):
        loss, val = train_loss(arm, seed, step), val_loss(arm, seed, step)
        head = "[rank0]:[titan] 2025-06-16 22:30:50,322 - root - INFO - "
        lines.append(
            f"{head}\x1b[31mstep: {step:2}  \x1b[32mloss: {loss:8.5f}  \x1b[38;2;180;60;0mgrad_norm: "
            "0.8319  \x1b[34mmemory:  1.41GiB(1.79%)  tps: 7,282  tflops: 0.52  mfu: 0.17%\x1b[39m"
        )
        if step % STEPS == 0:
            lines.append(
                f"{head}\x1b[33mvalidate step: {step:2}  \x1b[32mloss: {val:7.4f}  memory:  1.41GiB  tps: 7"
            )
    return lines


PRINTED = [(nanogpt, "nanoGPT output"), (megatron, "Megatron output"), (torchtitan, "torchtitan output")]


def written(folder: Path, lines, suffix: str = ".log") -> None:
    for arm in ARMS:
        (folder / arm).mkdir(parents=True)
        for seed in SEEDS:
            (folder / arm / f"seed{seed}{suffix}").write_text("\n".join(lines(arm, seed)) + "\n")


@pytest.mark.parametrize(("lines", "words"), PRINTED, ids=[row[1].split()[0] for row in PRINTED])
def test_what_is_printed_has_the_verdict_of_its_curves(tmp_path, lines, words):
    written(tmp_path, lines)
    result = compare_tables(tmp_path / "base", tmp_path / "variant", Terms(tolerance=0.012)).result
    assert result["verdict"] == "bias"
    assert result["lower_is_better"] is True
    assert result["gap"]["mean"] == pytest.approx(mean_gap(val_loss, -1), abs=2e-4)
    assert [entry["form"] for entry in result["logs"]] == [words, words]


@pytest.mark.parametrize(("lines", "words"), PRINTED, ids=[row[1].split()[0] for row in PRINTED])
def test_the_losses_are_those_of_the_checks_or_means_since_the_check_before(tmp_path, lines, words):
    path = tmp_path / "train.out"
    path.write_text("\n".join(lines("base", 2)) + "\n")
    arm = read_arm("baseline", path, path.name, Reading())
    checks = [row for row in arm.runs[0].rows if row.test_metric is not None]
    assert [row.update for row in checks if row.update] == list(range(STEPS, END + 1, STEPS))
    for row in checks:
        since = range(row.update - STEPS + 1, row.update + 1) if words != "nanoGPT output" else [row.update]
        expected = sum(train_loss("base", 2, step) for step in since) / len(since)
        assert row.train_loss == pytest.approx(expected, abs=1e-4)
        assert row.test_metric == pytest.approx(val_loss("base", 2, row.update), abs=1e-4)


@pytest.mark.parametrize(("lines", "words"), PRINTED, ids=[row[1].split()[0] for row in PRINTED])
def test_a_last_line_that_was_cut_off_is_passed_by(tmp_path, lines, words):
    path = tmp_path / "train.out"
    text = "\n".join(lines("base", 2)) + "\n"
    places = {
        "nanoGPT output": "val loss ",
        "Megatron output": "lm loss value: ",
        "torchtitan output": "validate step: 50",
    }
    end = text.rindex(places[words]) + len(places[words]) + 3
    if words == "Megatron output":
        end = text.rindex("lm loss value: ", 0, text.index("on test set")) + 19
    if words == "torchtitan output":
        end = text.index("loss: ", end) + 9
    path.write_text(text[:end])
    arm = read_arm("baseline", path, path.name, Reading())
    checks = [row.update for row in arm.runs[0].rows if row.test_metric is not None]
    assert checks[-1] == END - STEPS


def test_a_run_that_never_evaluated_says_what_is_missing(tmp_path):
    path = tmp_path / "train.log"
    path.write_text("\n".join(line for line in torchtitan("base", 0) if "validate" not in line) + "\n")
    with pytest.raises(BadInput, match=r"train\.log, test_metric is missing; needed: which of its columns"):
        read_arm("baseline", path, path.name, Reading())


def test_tokens_may_count_instead_of_updates(tmp_path):
    """Megatron counts samples in the lines of training alone."""
    path = tmp_path / "train.log"
    path.write_text("\n".join(megatron("base", 0)) + "\n")
    arm = read_arm("baseline", path, path.name, Reading({"update": ["consumed samples"]}))
    checks = [row.update for row in arm.runs[0].rows if row.test_metric is not None]
    assert checks == [256 * step for step in range(STEPS, END + 1, STEPS)]
