"""Curves as CSV tables with the terms of their comparison: what ``report --csv`` writes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from algobias.errors import BadInput
from algobias.frozen import Frozen, bad_input_from
from algobias.judge.design import Run
from algobias.kept.csvfile import NEEDED, OPTIONAL
from algobias.runs.outcome import MOST_METRIC
from algobias.untrusted import parse_yaml, read_text

SIDECAR = "compare.yaml"


class Terms(Frozen):
    """How two tables are to be compared: written beside exported tables, read from there by default.

    Attributes:
        tolerance: delta in units of the metric.
        looks: Seeds at each look.
        trivial: Test metric of a predictor that knows nothing.
        metric: Name of the metric.
        decays: Tables hold separate full-schedule runs, one per ``length``.
        alters_data: The change removed training examples.
        alters_loss: Match on the training metric.
        lower_is_better: Metrics in the tables are losses or errors. They are judged and shown as minus
            what the tables hold; ``trivial`` is in the tables' own sign.
        resolution: Smallest step of the metric; None: the smallest one between two values of the tables.
    """

    tolerance: float | None = Field(default=None, gt=0, le=MOST_METRIC)
    looks: tuple[int, ...] | None = None
    trivial: float | None = Field(default=None, ge=-MOST_METRIC, le=MOST_METRIC)
    metric: str = "metric"
    decays: bool | None = None
    alters_data: bool = False
    alters_loss: bool = False
    lower_is_better: bool = False
    resolution: float | None = Field(default=None, ge=0, le=MOST_METRIC)

    @property
    def sign(self) -> int:
        """What metrics are multiplied by so that higher is better."""
        return -1 if self.lower_is_better else 1

    @property
    def shown_metric(self) -> str:
        """Name of the metric as it is judged and shown."""
        return f"minus {self.metric}" if self.lower_is_better else self.metric


def read_terms(folder: Path) -> Terms:
    """The terms beside a table; empty ones where there is no such file.

    Raises:
        BadInput: The file is there but is not such terms.
    """
    path = folder / SIDECAR
    if not path.is_file():
        return Terms()
    data = parse_yaml(read_text(path, "terms"), "terms", str(path))
    return terms_from({} if data is None else data, str(path))


def terms_from(data: object, source: str = "") -> Terms:
    """Validate plain data, from a file or from options, into terms.

    Raises:
        BadInput: An unknown key, or a value that is not possible.
    """
    try:
        return Terms.model_validate(data)
    except ValidationError as error:
        raise bad_input_from(error, Terms, source) from error


def write_tables(folder: Path, runs: Sequence[Run], terms: Terms) -> list[Path]:
    """Write ``baseline.csv`` and ``variant.csv`` with every bit of the curves, and the terms beside them.

    Pairs share their ``seed`` (that of the baseline), also where the second arm had other seeds.

    Raises:
        BadInput: The folder cannot be written to, or there is nothing to write.
    """
    paths = []
    seeds = {run.replicate: run.outcome.seed for run in runs if run.arm == "baseline"}
    if not seeds:
        raise BadInput("report --csv", str(folder), "a study that has trained something")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for arm in ("baseline", "variant"):
            longest: dict[tuple[int, float], Run] = {}
            for run in runs:
                if run.arm == arm and run.replicate in seeds:
                    # A longer run of a constant-rate recipe contains the shorter one.
                    key = run.replicate, run.length if terms.decays else 1.0
                    if key not in longest or len(run.outcome.curve) > len(longest[key].outcome.curve):
                        longest[key] = run
            path = folder / f"{arm}.csv"
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow([*NEEDED, *OPTIONAL])
                for (replicate, length), run in sorted(longest.items()):
                    curve = run.outcome.curve
                    for place in range(len(curve)):
                        writer.writerow(
                            [
                                seeds[replicate],
                                int(curve.update[place]),
                                repr(float(curve.train_loss[place])) if run.outcome.loss_known else "",
                                repr(float(curve.test_metric[place])),
                                repr(float(curve.train_metric[place])),
                                int(place == run.outcome.planned),
                                f"{length:g}",
                            ]
                        )
            paths.append(path)
        sidecar = folder / SIDECAR
        sidecar.write_text(yaml.safe_dump(terms.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
        paths.append(sidecar)
    except OSError as error:
        raise BadInput(
            "report --csv", str(folder), f"a folder that can be written to ({error.strerror})"
        ) from error
    return paths
