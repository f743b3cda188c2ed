"""``algobias selftest``: known answers on this machine."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from algobias.cli.output import print_json, tables
from algobias.cli.shared import ExitCode, Json, Quiet


def selftest(json: Json = False, quiet: Quiet = False) -> None:
    """Measure problems whose answers are known, and compare; exit code 1 where one is wrong."""
    from algobias.probes.selftest import run

    found = run()
    if json:
        print_json({"schema": 1, **found})
    elif not quiet:
        table = Table(box=None, pad_edge=False)
        for name in ("", "case", "quantity", "expected", "found"):
            numbers = name in ("expected", "found")
            table.add_column(
                name,
                justify="right" if numbers else "left",
                no_wrap=numbers or not name,
                overflow="fold",
            )
        shown = ""
        for line in found["lines"]:
            case, shown = "" if line["case"] == shown else line["case"], line["case"]
            verdict = Text("pass", style="green") if line["ok"] else Text("FAIL", style="bold red")
            measured = "none" if line["found"] is None else f"{line['found']:.6g}"
            quantity = line["quantity"].partition(":")[0]
            table.add_row(verdict, Text(case), Text(quantity), f"{line['expected']:.6g}", measured)
        console = tables()
        console.print(table)
        for line in found["lines"]:
            if not line["ok"] and line["reason"]:
                console.print(Text(f"{line['quantity']}: {line['reason']}", style="red"), soft_wrap=True)
        wrong = sum(not line["ok"] for line in found["lines"])
        told = f"{len(found['lines']) - wrong} of {len(found['lines'])} right, {found['seconds']:.1f} s"
        console.print(Text(told, style="dim"))
    if not found["ok"]:
        raise SystemExit(ExitCode.asked_for)
