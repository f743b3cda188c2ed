"""The figures of ``control_decision.py`` as Markdown."""

from __future__ import annotations

from typing import Any, NamedTuple

from scipy.stats import binomtest


class Column(NamedTuple):
    """A share of two counts: ``hits`` of ``of``."""

    title: str
    hits: str
    of: str = "searches"


COVERED = (
    Column("R covered", "matched R covered", "matched R known"),
    Column("treated gap covered", "matched treated gap covered", "matched treated gap known"),
)
# The rule's error levels hold for what is confirmed, so that verdicts are counted among that.
SAID = (
    Column("nothing chosen", "matched nothing chosen"),
    *(
        Column(f"`{verdict}`", f"matched {verdict}", "confirmations")
        for verdict in ("recovered", "partial", "harmful")
    ),
)
TABLES: tuple[tuple[tuple[str, ...], tuple[Column, ...]], ...] = (
    (("null", "harm"), (*SAID, *COVERED)),
    (
        ("harm",),
        (
            Column("one that does harm chosen", "matched worse"),
            Column("and confirmed as `recovered` or `partial`", "matched worse confirmed"),
        ),
    ),
    (
        ("no gap on fresh seeds", "small gap"),
        (
            *SAID,
            Column("remark beside `recovered`", "matched remark", "matched recovered"),
            Column("R bounded", "matched R bounded", "confirmations"),
            *COVERED,
        ),
    ),
    (
        ("two answers",),
        (
            Column("two controls", "two controls"),
            Column("any `recovered`", "any recovered"),
            Column("`recovered` at matched fit", "matched recovered"),
            Column("at the planned end", "planned_end recovered"),
            Column("R covered at matched fit", "matched R covered", "matched R known"),
            Column("at the planned end", "planned_end R covered", "planned_end R known"),
        ),
    ),
)


def table(found: dict[str, Any]) -> str:
    """The cells, then the worlds where there are any."""
    lines = [
        "| candidates | seed effects | searches | `recovered` (at most 5.5 %) | R covered (at least 94 %) | "
        "R* covered | fresh seeds, mean |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, cell in found["cells"].items():
        candidates, law = name.split(", ")
        cover = cell["covered"]
        lines.append(
            f"| {candidates} | {law} | {cell['searches']} | {100 * cell['recovered']:.2f} % | "
            f"{100 * cover['recovered']:.1f} % | {100 * cover['against_treated_baseline']:.1f} % | "
            f"{cell['seeds']:.1f} |"
        )
    for worlds, columns in TABLES if "worlds" in found else ():
        lines += ["", *world_lines(found["worlds"]["counts"], worlds, columns)]
    return "\n".join(lines)


def world_lines(counts: dict[str, Any], worlds: tuple[str, ...], columns: tuple[Column, ...]) -> list[str]:
    """Some worlds: one row for each law, one for all."""
    titles = ["world", "seed effects", "searches", *(column.title for column in columns)]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for world in worlds:
        for law, cell in counts[world].items():
            shares = (share(cell.get(hits, 0), cell.get(of, 0)) for _, hits, of in columns)
            lines.append(f"| {' | '.join((world, law, str(cell['searches']), *shares))} |")
    return lines


def share(hits: int, of: int) -> str:
    """Percent with Wilson's 95 % interval, or a dash where there is nothing to count."""
    if not of:
        return "-"
    ends = binomtest(hits, of).proportion_ci(method="wilson")
    return f"{100 * hits / of:.2f} % ({100 * ends.low:.2f} to {100 * ends.high:.2f})"
