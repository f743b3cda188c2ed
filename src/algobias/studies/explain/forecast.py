"""What an explanation may cost, before anything is trained (``algobias explain --plan``)."""

from __future__ import annotations

from algobias.answer.forecast import Forecast
from algobias.kept.store import Store, StudyRow
from algobias.running.trainer import Options
from algobias.studies.audited import of_command
from algobias.studies.explain.of_command import PreparedCommand
from algobias.studies.explain.prepared import prepare
from algobias.studies.explain.spec import ExplainSpec
from algobias.studies.study import Study


def forecast_explain(row: StudyRow, spec: ExplainSpec, store: Store, options: Options) -> Forecast:
    """Say what an explanation may cost; nothing is trained or stored.

    Args:
        row: The audit.
        spec: What is wanted.
        store: Where it lies.
        options: Processes and data.

    Raises:
        BadInput: The audit found no gap, or nothing can be done to its change.
    """
    if of_command(row):
        return PreparedCommand.of(row, spec, Study(store, options)).forecast()
    return prepare(row, spec, options).forecast(options.workers)
