"""Curves as CSV tables: what ``compare`` reads and ``report --csv`` writes."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from pydantic import Field, ValidationError

from algobias.errors import BadInput, unknown_name
from algobias.recipe import Frozen, bad_input_from
from algobias.study.design import Run
from algobias.training.outcome import Cost, Curve, Outcome

NEEDED = ("seed", "update", "train_loss", "test_metric")
OPTIONAL = ("train_metric", "planned", "length")
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
    """

    tolerance: float | None = Field(default=None, gt=0)
    looks: tuple[int, ...] | None = None
    trivial: float | None = None
    metric: str = "metric"
    decays: bool | None = None
    alters_data: bool = False
    alters_loss: bool = False


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    seed: int
    update: int
    train_loss: float
    test_metric: float
    train_metric: float
    planned: bool
    length: float


def read_terms(folder: Path) -> Terms:
    """The terms beside a table; empty ones where there is no such file.

    Raises:
        BadInput: The file is there but is not such terms.
    """
    path = folder / SIDECAR
    if not path.is_file():
        return Terms()
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(str(path), " ".join(str(error).split()), "a readable YAML file") from error
    return terms_from(data, str(path))


def terms_from(data: object, source: str = "") -> Terms:
    """Validate plain data, from a file or from options, into terms.

    Raises:
        BadInput: An unknown key, or a value that is not possible.
    """
    try:
        return Terms.model_validate(data)
    except ValidationError as error:
        raise bad_input_from(error, Terms, source) from error


def read_table(path: Path) -> list[Row]:
    """Read a table of curves: one row per seed and check.

    Columns ``seed, update, train_loss, test_metric``; optional ``train_metric``, ``planned`` (1 at the
    planned end), ``length`` (multiple of the full schedule). Other columns are ignored. An empty cell or
    ``nan`` is not a number; ``inf`` is infinity.

    Raises:
        BadInput: No such file, a missing column, a cell that is not a number, a row twice, no rows.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            _check_columns(path, columns)
            rows = [_row(path, line, cells) for line, cells in enumerate(reader, start=2)]
    except OSError as error:
        raise BadInput("table", str(path), f"a readable CSV file ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput("table", str(path), f"a CSV file in UTF-8 ({error})") from error
    if not rows:
        raise BadInput("table", str(path), "at least one row below the header")
    seen: set[tuple[int, float, int]] = set()
    for line, row in enumerate(rows, start=2):
        key = row.seed, row.length, row.update
        if key in seen:
            raise BadInput(
                f"{path.name} line {line}",
                f"seed {row.seed} update {row.update}",
                "each seed and update once per length",
            )
        seen.add(key)
    return rows


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    for name in NEEDED:
        if name not in columns:
            raise BadInput(
                f"{path.name} header",
                ",".join(columns) or "nothing",
                f"the columns {', '.join(NEEDED)} (optional: {', '.join(OPTIONAL)}); {name} is missing",
                unknown_name("column", name, columns).nearest if columns else None,
            )
    if len(set(columns)) < len(columns):
        raise BadInput(f"{path.name} header", ",".join(columns), "each column once")


def _row(path: Path, line: int, cells: dict[str, str | None]) -> Row:
    def number(name: str, default: float | None = None) -> float:
        text = (cells.get(name) or "").strip()
        if not text and default is not None:
            return default
        try:
            return float(text) if text else math.nan
        except ValueError:
            raise BadInput(f"{path.name} line {line}, {name}", text, "a number") from None

    def whole(name: str) -> int:
        value = number(name)
        if not math.isfinite(value) or value != int(value) or value < 0:
            raise BadInput(f"{path.name} line {line}, {name}", cells.get(name), "a whole number from 0")
        return int(value)

    length = number("length", 1.0)
    if not length > 0 or not math.isfinite(length):
        raise BadInput(
            f"{path.name} line {line}, length", cells.get("length"), "a multiple of the full schedule above 0"
        )
    test = number("test_metric")
    if math.isnan(test) and math.isfinite(number("train_loss")):
        raise BadInput(
            f"{path.name} line {line}, test_metric",
            cells.get("test_metric"),
            "a number (finite training loss)",
        )
    return Row(
        whole("seed"),
        whole("update"),
        number("train_loss"),
        test,
        number("train_metric", math.nan),
        number("planned", 0.0) == 1.0,
        length,
    )


def outcomes(path: Path, rows: Iterable[Row], trivial: float) -> dict[tuple[int, float], Outcome]:
    """Runs by (seed, length), from the rows of one table.

    Raises:
        BadInput: Two planned ends in one run.
    """
    grouped: dict[tuple[int, float], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row.seed, row.length), []).append(row)
    made = {}
    for (seed, length), checks in grouped.items():
        checks.sort(key=lambda row: row.update)
        ends = [place for place, row in enumerate(checks) if row.planned]
        if len(ends) > 1:
            raise BadInput(
                path.name, f"seed {seed}: {len(ends)} rows with planned = 1", "one planned end per run"
            )
        curve = Curve(
            np.array([row.update for row in checks], dtype=np.int64),
            np.array([row.train_loss for row in checks]),
            np.array([row.train_metric for row in checks]),
            np.array([row.test_metric for row in checks]),
        )
        made[seed, length] = Outcome(
            seed=seed,
            curve=curve,
            planned=ends[0] if ends else len(checks) - 1,
            diverged=not math.isfinite(checks[-1].train_loss),
            trivial_metric=trivial,
            cost=Cost(updates=checks[-1].update),
        )
    return made


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
                                repr(float(curve.train_loss[place])),
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
