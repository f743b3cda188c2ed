"""From an audit to what interventions on it support: more arms over the same seeds, then the rule."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field, ValidationError, field_validator

from algobias.recipe import Frozen, bad_input_from
from algobias.study.archive import Archive, environment
from algobias.study.arms import Arms, build_arms
from algobias.study.audit import assemble, spoken, terms_of
from algobias.study.audited import audited_question
from algobias.study.control.candidates import candidates
from algobias.study.design import Design, Run
from algobias.study.executor import OutOfTime
from algobias.study.explain.evidence import Statement
from algobias.study.explain.found import dose_response, intervention_entries, statement_entry, statements_of
from algobias.study.explain.interventions import Intervention, doses, forces, switches
from algobias.study.plan import plan
from algobias.study.progress import Progress
from algobias.study.readings import TWIN, read_study, wanted_probes
from algobias.study.spec import NO_PROBES, StudySpec
from algobias.study.store import Store, StudyRow
from algobias.study.trainer import Options, Trainer
from algobias.tasks.registry import load_task
from algobias.training.device import one_thread

AT = (0.25, 0.5, 0.75)
DOSES = (0.25, 0.5, 0.75)
MOST_FORCES = 6
EVERY_CANDIDATE = 256


class ExplainSpec(Frozen):
    """What a user asks of an explanation.

    Attributes:
        at: Shares of the planned updates at which the change is switched off and on.
        doses: Sizes of the change besides its own, which is 1.
        force: Levers that may force coordinates back, besides those proposed.
        only: Where given, no others.
        most: Number of levers proposed at most.
        seeds: How many of the audit's seeds; all it looked at without it.
    """

    at: tuple[float, ...] = AT
    doses: tuple[float, ...] = DOSES
    force: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    most: int = Field(default=MOST_FORCES, ge=1, le=64)
    seeds: int | None = Field(default=None, ge=4)

    @field_validator("at")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < share < 1 for share in value):
            raise ValueError("shares of the planned updates, above 0 and below 1")
        return value

    @field_validator("doses")
    @classmethod
    def _sizes(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not (math.isfinite(size) and 0 < size <= 4) for size in value):
            raise ValueError("sizes of the change, above 0 and at most 4")
        return value


def explain_spec(data: dict[str, Any]) -> ExplainSpec:
    """Validate what a user asks.

    Raises:
        BadInput: With the key, the value and what is allowed.
    """
    try:
        return ExplainSpec.model_validate(data)
    except ValidationError as error:
        raise bad_input_from(error, ExplainSpec, "explain") from error


@dataclass(frozen=True)
class Explanation:
    """A finished explanation.

    Attributes:
        study: Its id in the store.
        result: The object ``--json`` prints.
        interventions: What was done.
        statements: What it supports.
    """

    study: str
    result: dict[str, Any]
    interventions: tuple[Intervention, ...]
    statements: tuple[Statement, ...]


def run_explain(
    row: StudyRow,
    spec: ExplainSpec,
    store: Store,
    options: Options | None = None,
    progress: Progress | None = None,
    *,
    command: str = "",
) -> Explanation:
    """Intervene on an audited change, on the audit's seeds, and say what the outcome supports.

    All interventions are fixed before the first of their runs, so that the audit's seeds can be used again.

    Args:
        row: The audit.
        spec: What is wanted.
        store: Where runs and the answer are kept.
        options: Processes, data, time: nothing that changes the answer.
        progress: Who watches.
        command: How it was asked for, for the report.

    Raises:
        BadInput: The audit found no gap, or nothing can be done to its change.
        KeyboardInterrupt: Interrupted; everything so far is stored.
        OutOfTime: The time is over; everything so far is stored.
    """
    options, progress = options or Options(), progress or Progress()
    started = time.monotonic()
    audited, question = audited_question(row)
    with one_thread():
        plain = build_arms(question, load_task(question.task, options.data))
        interventions = plan_interventions(plain, audited, spec)
        arms = _with(plain, interventions)
    seen = int(audited["gap"]["n"])
    look = seen if spec.seeds is None else min(spec.seeds, seen)
    design = replace(_design(arms, audited, interventions), only_look=look)
    study = _id(row.id, spec, arms, look)
    saved = {**question.model_dump(mode="json"), "explain_of": row.id, **spec.model_dump(mode="json")}
    store.save_study(study, saved)
    try:
        progress.start(
            {
                "task": question.task,
                "change": [question.question()],
                "first_look_seeds": look,
                "tolerance": audited["tolerance"],
            }
        )
        progress.message(f"{len(interventions)} interventions on {look} seeds of the audit")
        runs: list[Run] = []
        with Trainer(arms, store, study, options, progress, started) as trainer:
            while isinstance(wanted := plan(design, runs), list):
                runs += trainer.carry_out(wanted)
            readings = read_study(
                trainer,
                design,
                wanted,
                runs,
                wanted_probes(_moved_probes(audited, question), None),
                wanted.split.errors.printed,
                lambda arm: spoken(arm, arms.spec),
            )
    except (KeyboardInterrupt, OutOfTime):
        store.save_study(study, saved, "interrupted")
        raise
    finally:
        progress.stop()
    statements = statements_of(interventions, wanted, readings, audited)
    result = assemble(study, arms, design, wanted, runs, "that of the audit")
    entries = intervention_entries(interventions, wanted, readings)
    for number, entry in enumerate(entries):
        entry["arm"] = next(
            (arm for arm in result["arms"] if arm["name"] == spoken(f"variant+control:{number}", arms.spec)),
            None,
        )
    result |= {
        "arms": [arm for arm in result["arms"] if arm["name"] in ("baseline", "variant")],
        "controls": [],
        "moved": readings.moved(),
        "readings": readings.summary(),
        "explain_of": row.id,
        "interventions": entries,
        "dose_response": dose_response(interventions, arms, design, wanted, runs, readings),
        "statements": [statement_entry(one) for one in statements],
        "seconds": time.monotonic() - started,
    }
    archive = Archive(
        result=result,
        places=tuple(place for place in trainer.places if place.arm in ("baseline", "variant")),
        recipes={spoken(name, arms.spec): recipe.to_yaml() for name, recipe in arms.recipes.items()},
        command=command,
        environment=environment(),
        terms=terms_of(arms, design, runs),
    )
    store.save_result(study, archive.stored())
    return Explanation(study, result, tuple(interventions), tuple(statements))


def plan_interventions(plain: Arms, audited: Mapping[str, Any], spec: ExplainSpec) -> list[Intervention]:
    """Everything that will be done, fixed before any of it is trained.

    Raises:
        BadInput: Levers that are unknown or impossible here, nothing that can be done.
    """
    found: list[Intervention] = []
    planned = {
        arm["name"]: max(2, round(arm["cost"]["updates"]))
        for arm in audited["arms"]
        if arm["name"] in ("baseline", "variant")
    }
    if audited["verdict"] != "broken":
        found += switches(plain.recipes, planned, spec.at)
    found += doses(plain.changes, plain.recipes["baseline"], spec.doses)
    moved = audited.get("moved") or []
    settings = candidates(
        plain.changes, plain.recipes, moved, given=spec.force, only=spec.only, most=EVERY_CANDIDATE
    )
    names = {str(one["probe"]).removesuffix(TWIN) for one in moved if one.get("status") == "moved"}
    found += forces(settings, names, spec.most)
    return found


def _with(plain: Arms, interventions: Sequence[Intervention]) -> Arms:
    """The audit's arms and one pair for each intervention, spelled as the planner spells controls."""
    recipes = {name: plain.recipes[name] for name in ("baseline", "variant")}
    for number, one in enumerate(interventions):
        recipes[f"variant+control:{number}"] = one.recipe
        recipes[f"baseline+control:{number}"] = one.baseline
    asked = plain.spec.model_copy(update={"control": tuple(one.text for one in interventions)})
    return replace(plain, spec=asked, recipes=recipes, controls=())


def _design(arms: Arms, audited: Mapping[str, Any], interventions: Sequence[Intervention]) -> Design:
    return replace(
        arms.design(float(audited["tolerance"])),
        controls=len(interventions),
        control_alters_loss=tuple(one.alters_loss for one in interventions),
        upward=True,
    )


def _moved_probes(audited: Mapping[str, Any], question: StudySpec) -> str:
    """The probes of the coordinates that moved; the cheap ones where none were read."""
    names = [
        str(entry["probe"]).removesuffix(TWIN)
        for entry in audited.get("moved") or []
        if entry.get("status") == "moved"
    ]
    if names:
        return ",".join(dict.fromkeys(names))
    return "cheap" if question.probes == NO_PROBES else question.probes


def _id(audit: str, spec: ExplainSpec, arms: Arms, look: int) -> str:
    recipes = {name: arms.address(recipe) for name, recipe in arms.recipes.items()}
    text = json.dumps(["explain", audit, spec.model_dump(mode="json"), look, recipes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
