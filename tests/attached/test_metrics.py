# ruff: noqa: E501
"""Numbers that a script tells its loggers are heard at full precision."""

from __future__ import annotations

from pathlib import Path

import pytest

import algobias
from algobias.attached.events import Metric, TrainLoss
from algobias.errors import BadInput
from attached.scripts import HEAD, run

TRAIN = HEAD + (
    "net = nn.Linear(12, 4); optimizer = torch.optim.SGD(net.parameters(), 0.1)\n"
    "for step in range(3): net(X).square().sum().backward(); optimizer.step()\n"
)

STAND_INS = {
    "wandb": (
        {
            "wandb/__init__.py": "from wandb.sdk.wandb_run import Run\ndef init():\n    global log\n    log = Run().log\n",
            "wandb/sdk/__init__.py": "",
            "wandb/sdk/wandb_run.py": "class Run:\n    def log(self, data, step=None, commit=None): print(sorted(data))\n",
        },
        "import wandb; wandb.init(); wandb.log({'accuracy': 0.1 + 0.2, 'note': 'text', 'best': {'x': torch.tensor(2.)}}, step=7)",
        [("accuracy", 0.30000000000000004, 7), ("best/x", 2.0, 7)],
    ),
    "mlflow": (
        {
            "mlflow/__init__.py": "from mlflow.tracking.fluent import log_metric, log_metrics\n",
            "mlflow/tracking/__init__.py": "",
            "mlflow/tracking/fluent.py": (
                "def log_metric(key, value, step=None): print(key)\n"
                "def log_metrics(metrics, step=None):\n    for key in metrics: log_metric(key, metrics[key], step)\n"
            ),
        },
        "import mlflow; mlflow.log_metric('loss', 0.5, step=1); mlflow.log_metrics({'a': 1, 'b': True}, step=2)",
        [("loss", 0.5, 1), ("a", 1.0, 2)],
    ),
    "tensorboard": (
        {
            "tensorboardX/__init__.py": "from tensorboardX.writer import SummaryWriter\n",
            "tensorboardX/writer.py": (
                "class SummaryWriter:\n"
                "    def add_scalar(self, tag, scalar_value, global_step=None): print(tag)\n"
                "    def add_scalars(self, main_tag, tag_scalar_dict, global_step=None): print(main_tag)\n"
            ),
        },
        "from tensorboardX import SummaryWriter; w = SummaryWriter()\n"
        "w.add_scalar('acc', torch.tensor(0.25), 4); w.add_scalars('all', {'x': 1.5}, global_step=5)",
        [("acc", 0.25, 4), ("all/x", 1.5, 5)],
    ),
    "trackio": (
        {"trackio.py": "def log(metrics, step=None): print(sorted(metrics))\n"},
        "import trackio; trackio.log({'acc': 1 / 3}, step=3)",
        [("acc", 1 / 3, 3)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("source", STAND_INS)
def test_what_loggers_are_told_is_heard(tmp_path: Path, source: str) -> None:
    files, calls, expected = STAND_INS[source]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    plain = run(tmp_path, TRAIN + calls, attach=False)
    ran = run(tmp_path, TRAIN + calls)
    assert (ran.code, ran.out) == (0, plain.out), ran.err
    heard = [(metric.name, metric.value, metric.step) for metric in ran.events.of(Metric)]
    assert heard == expected
    assert {(metric.source, metric.update) for metric in ran.events.of(Metric)} == {(source, 3)}


def test_what_the_trainer_of_transformers_evaluates_is_heard(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    calls = (
        "from transformers.trainer_callback import CallbackHandler, TrainerControl, TrainerState\n"
        "handler = CallbackHandler([], net, None, optimizer, None)\n"
        "state = TrainerState(global_step=3)\n"
        "handler.on_evaluate(None, state, TrainerControl(), {'eval_accuracy': 0.1 + 0.2})\n"
        "handler.on_log(None, state, TrainerControl(), {'loss': 0.5, 'learning_rate': 0.25})\n"
        "handler.on_log(None, state, TrainerControl(), {'eval_accuracy': 0.3})\n"
    )
    ran = run(tmp_path, TRAIN + calls)
    assert ran.code == 0, ran.err
    heard = {metric.name: (metric.value, metric.step) for metric in ran.events.of(Metric)}
    assert heard == {"eval_accuracy": (0.30000000000000004, 3), "loss": (0.5, 3), "learning_rate": (0.25, 3)}


def test_nothing_is_heard_where_nobody_listens(tmp_path: Path) -> None:
    (tmp_path / "trackio.py").write_text("def log(metrics): print(metrics)")
    ran = run(tmp_path, TRAIN + "import trackio; trackio.log({'acc': 1.0})", metrics=False)
    assert ran.events.of(Metric) == ()


def test_no_logger_is_imported_for_it(tmp_path: Path) -> None:
    names = "wandb mlflow trackio tensorboardX transformers lightning"
    source = TRAIN + f"print([name for name in {names.split()} if name in sys.modules])"
    assert run(tmp_path, source).out == "[]\n"


def test_a_script_reports_by_itself(tmp_path: Path) -> None:
    ran = run(
        tmp_path, TRAIN + "import algobias\nalgobias.report(test_metric=torch.tensor(0.5), train_loss=1 / 3)"
    )
    assert ran.code == 0, ran.err
    (metric,), (loss,) = ran.events.of(Metric), ran.events.of(TrainLoss)
    assert (metric.value, metric.source, metric.update) == (0.5, "report", 3)
    assert (loss.value, loss.exact, loss.fit_set) == (1 / 3, False, None)


def test_one_line_attaches_where_python_was_not_armed(tmp_path: Path) -> None:
    source = "import algobias\nprint(algobias.attach(), algobias.attach())\n" + TRAIN
    ran = run(tmp_path, source, environment={"PYTHONPATH": "/nowhere"})
    assert ran.out == "True True\n"
    assert ran.end.updates == 3


def test_without_orders_both_do_nothing() -> None:
    assert algobias.attach() is False
    algobias.report(test_metric=1.0)


@pytest.mark.parametrize("value", ["0.9", float("nan"), [1.0], True])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(BadInput, match=r"report\.test_metric"):
        algobias.report(test_metric=value)
