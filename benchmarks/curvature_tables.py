"""The curvature benchmark's results as Markdown."""

from __future__ import annotations

from typing import Any

TARGETS = ("0.01", "0.001")


def tables(results: dict[str, Any]) -> str:
    """The results as Markdown tables."""
    lines: list[str] = [
        "Products (milliseconds) to a true error, median over seeds; ratio of time to ours:",
        "",
    ]
    lines += ["| network (P) | library | to 1 % | to 0.1 % | time to 1 % / ours |", "|---|---|---|---|---|"]
    for entry in results["problems"].values():
        mine = entry["accuracy"]["algobias"][TARGETS[0]]["seconds"]
        for library, row in entry["accuracy"].items():
            if isinstance(row, str) or "seconds_per_product" not in row:
                continue
            cells = [_cell(row[target]) for target in TARGETS]
            first = row[TARGETS[0]]["seconds"]
            ratio = f"{first / mine:.2f}" if first and mine else "-"
            lines.append(
                f"| {entry['name']} ({entry['parameters']}) | {library} | {' | '.join(cells)} | {ratio} |"
            )
    lines += ["", "As shipped, at defaults:", ""]
    lines += ["| network | library | error, median (worst) | products | ms |", "|---|---|---|---|---|"]
    for entry in results["problems"].values():
        for library, row in entry["defaults"].items():
            if isinstance(row, str):
                lines.append(f"| {entry['name']} | {library} | fails: {row} | | |")
                continue
            error = f"{row['median_error']:.1e} ({row['worst_error']:.1e})"
            cost = f"{row['products']:g} | {1e3 * row['seconds']:.0f}"
            lines.append(f"| {entry['name']} | {library} | {error} | {cost} |")
    if "traps" in results:
        lines += ["", "Traps:", "", "| problem | truth | library | value |", "|---|---|---|---|"]
        for problem, row in results["traps"].items():
            for library, value in row.items():
                if library != "truth":
                    shown = value if isinstance(value, str) else f"{value:.4g}"
                    lines.append(f"| {problem} | {row['truth']:.4g} | {library} | {shown} |")
    if "state" in results:
        lines += ["", "State of a model in train mode afterwards:", "", "| library | changed |", "|---|---|"]
        for library, row in results["state"].items():
            lines.append(f"| {library} | {', '.join(row['changed']) or 'nothing'}{_raised(row['raised'])} |")
    if "series" in results:
        row = results["series"]
        lines += [
            "",
            f"{row['checkpoints']} checkpoints:",
            "",
            "| way | products | worst error | s |",
            "|---|---|---|---|",
        ]
        for name, one in row.items():
            if isinstance(one, dict):
                lines.append(
                    f"| {name} | {one['total']:g} | {one['worst_error']:.1e} | {one['seconds']:.2f} |"
                )
    return "\n".join(lines)


def _raised(reason: str | None) -> str:
    return f" (raised {reason})" if reason else ""


def _cell(row: dict[str, Any]) -> str:
    return "-" if row["products"] is None else f"{row['products']:g} ({1e3 * row['seconds']:.0f})"
