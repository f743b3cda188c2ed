"""Write the fixtures anew with the libraries whose logs they are: ``python make_fixtures.py FORMAT ...``.

Needs the library of the format: keras, lightning, timm, transformers, torch with tensorboard, mlflow, fastai.
Losses and accuracies are those of ``curves``; how they get into the file is up to the library.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

from curves import ARMS, CHECKS, SEEDS, STEPS, accuracy, train_loss, val_loss

HERE = Path(__file__).parent / "fixtures"


def runs(name: str) -> Iterator[tuple[str, int, Path]]:
    shutil.rmtree(HERE / name, ignore_errors=True)
    for arm in ARMS:
        for seed in SEEDS:
            folder = HERE / name / arm / f"seed={seed}"
            folder.mkdir(parents=True)
            yield arm, seed, folder


def keras() -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    from keras.callbacks import CSVLogger

    for arm, seed, folder in runs("keras"):
        logger = CSVLogger(str(folder / "history.csv"))
        logger.set_model(SimpleNamespace(stop_training=False))
        logger.on_train_begin()
        for epoch in range(CHECKS):
            update = STEPS * (epoch + 1)
            logs = {
                "loss": train_loss(arm, seed, update),
                "accuracy": accuracy(arm, seed, update) / 100,
                "val_loss": val_loss(arm, seed, update),
                "val_accuracy": accuracy(arm, seed, update) / 100,
            }
            logger.on_epoch_end(epoch, logs)
        logger.on_train_end()


def lightning() -> None:
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.loggers import CSVLogger

    class Scripted(LightningModule):
        def __init__(self, arm: str, seed: int) -> None:
            super().__init__()
            self.arm, self.seed = arm, seed
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            self.log("train_loss", train_loss(self.arm, self.seed, self.global_step + 1))
            return self.layer(batch).mean()

        def validation_step(self, batch: torch.Tensor, index: int) -> None:
            self.log("val_acc", accuracy(self.arm, self.seed, self.global_step))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    data = torch.utils.data.DataLoader(torch.zeros(2 * STEPS, 1), batch_size=2)
    for arm, seed, folder in runs("lightning"):
        logger = CSVLogger(str(folder), name="", version="")
        trainer = Trainer(
            max_epochs=CHECKS,
            logger=logger,
            log_every_n_steps=2,
            accelerator="cpu",
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(Scripted(arm, seed), data, data)
        (folder / "hparams.yaml").unlink(missing_ok=True)


def timm() -> None:
    # The file alone: all of timm needs torchvision.
    found = importlib.util.find_spec("timm")
    assert found is not None
    assert found.submodule_search_locations is not None
    path = Path(found.submodule_search_locations[0]) / "utils" / "summary.py"
    spec = importlib.util.spec_from_file_location("timm_summary", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    update_summary = module.update_summary

    for arm, seed, folder in runs("timm"):
        for epoch in range(CHECKS):
            update = STEPS * (epoch + 1)
            update_summary(
                epoch,
                {"loss": train_loss(arm, seed, update)},
                {
                    "loss": val_loss(arm, seed, update),
                    "top1": accuracy(arm, seed, update),
                    "top5": min(100.0, accuracy(arm, seed, update) + 5),
                },
                filename=str(folder / "summary.csv"),
                lr=0.1,
                write_header=epoch == 0,
            )


def fastai() -> None:
    from fastai.callback.progress import CSVLogger

    for arm, seed, folder in runs("fastai"):
        logger = CSVLogger(folder / "history.csv")
        names = ["epoch", "train_loss", "valid_loss", "accuracy", "time"]
        recorder = SimpleNamespace(metric_names=names)
        logger.learn = SimpleNamespace(path=Path(), recorder=recorder, logger=lambda log: None)
        logger.before_fit()
        for epoch in range(CHECKS):
            update = STEPS * (epoch + 1)
            values = (train_loss, val_loss, accuracy)
            logger._write_line([epoch, *(value(arm, seed, update) for value in values), "00:01"])
        logger.after_fit()


def trainer_state() -> None:
    from transformers.trainer_callback import TrainerState

    for arm, seed, folder in runs("trainer_state"):
        history: list[dict[str, float]] = []
        for step in range(1, CHECKS * STEPS + 1):
            epoch = step / STEPS
            if step % 2 == 0:
                history.append(
                    {"loss": train_loss(arm, seed, step), "learning_rate": 0.1, "epoch": epoch, "step": step}
                )
            if step % STEPS == 0:
                history.append(
                    {
                        "eval_accuracy": accuracy(arm, seed, step),
                        "eval_runtime": 0.5,
                        "eval_samples_per_second": 200.0,
                        "epoch": epoch,
                        "step": step,
                    }
                )
        history.append(
            {"train_loss": 0.5, "train_runtime": 60.0, "epoch": float(CHECKS), "step": CHECKS * STEPS}
        )
        TrainerState(log_history=history, global_step=CHECKS * STEPS).save_to_json(
            str(folder / "trainer_state.json")
        )


def tensorboard() -> None:
    from torch.utils.tensorboard import SummaryWriter

    for arm, seed, folder in runs("tensorboard"):
        with SummaryWriter(str(folder)) as writer:
            for step in range(1, CHECKS * STEPS + 1):
                if step % 2 == 0:
                    writer.add_scalar(
                        "train/loss", train_loss(arm, seed, step), step, new_style=seed % 2 == 1
                    )
                if step % STEPS == 0:
                    writer.add_scalar("val/acc", accuracy(arm, seed, step), step, new_style=seed % 2 == 1)
            writer.add_text("notes", "a text is no scalar")
        for path in folder.iterdir():
            path.rename(folder / f"events.out.tfevents.1700000000.host.{seed}.0")


def mlflow() -> None:
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    import mlflow as library

    shutil.rmtree(HERE / "mlflow", ignore_errors=True)
    for arm in ARMS:
        library.set_tracking_uri((HERE / "mlflow" / arm).as_uri())
        library.set_experiment("digits")
        for seed in SEEDS:
            with library.start_run(run_name=f"seed={seed}"):
                for step in range(1, CHECKS * STEPS + 1):
                    if step % STEPS == 0:
                        library.log_metric("train_loss", train_loss(arm, seed, step), step=step)
                        library.log_metric("val/acc", accuracy(arm, seed, step), step=step)
        for run in (HERE / "mlflow" / arm).glob("*/*/meta.yaml"):
            # Only what tells a run from another folder: the rest names the machine.
            lines = run.read_text().splitlines()
            run.write_text(
                "\n".join(line for line in lines if line.startswith(("run_id:", "run_name:"))) + "\n"
            )
            for other in ("artifacts", "params", "tags"):
                shutil.rmtree(run.parent / other, ignore_errors=True)
        for rest in (HERE / "mlflow" / arm).glob("*/meta.yaml"):
            rest.unlink()


MAKERS: dict[str, Callable[[], None]] = {
    maker.__name__: maker for maker in (keras, lightning, timm, fastai, trainer_state, tensorboard, mlflow)
}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or MAKERS:
        MAKERS[chosen]()
