"""What to do after a control study: train with what helped, or search on where there is more to try."""

from __future__ import annotations

import re

from algobias.answer.next.typed import Commanded, Step, about
from algobias.answer.search import MOST

_MOST_ASKED = re.compile(r"--most[= ](\d+)")

_ONLY = re.compile(r"\s--only[= ]")

WIDEST = 256
"""Settings that a search may try."""


def after_control(record: Commanded, audited: str) -> tuple[Step, ...]:
    """Say what follows from what was confirmed.

    Args:
        record: The control study.
        audited: Id of the audit that it is about.
    """
    good = [choice for choice in record.answer.chosen if not choice.undoes]
    for word, said in (
        ("recovered", "train with {}"),
        ("partial", "train with {}, which brings back a part"),
    ):
        for choice in good:
            if choice.confirmed == word and choice.lever:
                where = "its recipe stands in the report, under What was chosen"
                step = Step(f"{said.format(choice.lever)}: {where}")
                return (step,) if word == "recovered" else (step, _search_on(record, audited, "for more, "))
    wider = _dearer(record, audited) or _search_on(record, audited, loosen=True)
    if record.answer.evidence is not None:
        return (wider,)
    return (wider, Step("or why", about(record, "explain", audited)))


def _dearer(record: Commanded, audited: str) -> Step | None:
    """Offer to confirm the setting that gained most in the search, where only its cost kept it out."""
    tried = [setting for setting in record.answer.tried if not setting.undoes and setting.lever]
    best = max(tried, key=lambda setting: setting.improvement.mean or 0.0, default=None)
    limits = len(record.answer.chosen)
    if best is None or not (best.improvement.mean or 0.0) > 0 or not len(best.over_limit) >= limits > 0:
        return None
    lever = str(best.lever)
    what = f"confirm {lever}, which gained most in the search and costs more than every limit"
    return Step(what, about(record, "control", audited, "--only", lever, "--keep", "none"))


def _search_on(record: Commanded, audited: str, aim: str = "", *, loosen: bool = False) -> Step:
    """Offer a wider search, or settings of the user's own where all that is proposed has been tried.

    Args:
        record: The control study.
        audited: Id of the audit that it is about.
        aim: What for.
        loosen: Nothing was found: what broke a limit on cost may be looked at too.
    """
    given = record.command.partition(" -- ")[0]
    asked, narrow = _MOST_ASKED.search(given), _ONLY.search(given) is not None
    most = int(asked[1]) if asked else MOST
    tried = record.answer.tried
    # A search that tried fewer settings than it was allowed to had no more of them.
    more = not narrow and len(tried) >= most < WIDEST
    options = ["--most", str(min(2 * most, WIDEST))] if more else []
    if loosen and any(setting.over_limit for setting in tried):
        options += ["--keep", "none"]
    of_command = record.answer.evidence is not None
    own = "args: --warmup=100" if of_command else "lr:x0.3"
    if narrow:
        what = f"{aim}a wider search, not only of what --only named"
        return Step(what, about(record, "control", audited, *options))
    if not options:
        what = f"{aim}settings of your own (all that is proposed has been tried), like this one"
        return Step(what, about(record, "control", audited, "--candidate", own))
    by_options = f" of settings by its own options, like --candidate '{own}'" if of_command else ""
    return Step(f"{aim}a wider search{by_options}", about(record, "control", audited, *options))
