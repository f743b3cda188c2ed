"""What a preflight finds out: one thing, all of them, and how they are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One thing that was found out.

    Attributes:
        check: What was looked at.
        passed: It is as it must be; None: it could not be looked at.
        text: What was seen, in words.
        instead: What would do; None: going on with the finding may be of use.
    """

    check: str
    passed: bool | None
    text: str
    instead: str | None = None


@dataclass(frozen=True)
class Preflight:
    """What was found out beforehand.

    Attributes:
        findings: In order.
        replay: The training loss can be measured inside.
        seconds: Time of one update, without what starting takes; None: not known.
    """

    findings: tuple[Finding, ...]
    replay: bool
    seconds: float | None

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What is not as it must be."""
        return tuple(finding for finding in self.findings if finding.passed is False)

    def withdrawn(self, check: str, text: str) -> Preflight:
        """Take back that a check passed, where a whole run showed otherwise.

        Args:
            check: What was looked at.
            text: What the whole run showed.
        """
        findings = (
            replace(one, passed=False, text=text) if one.check == check and one.passed else one
            for one in self.findings
        )
        return replace(self, findings=tuple(findings))


def kept(path: Path, make: Callable[[], Preflight], *, force: bool) -> Preflight:
    """Read what was found out before, or find it out and keep it.

    What was wrong is looked at again: it may have been put right outside of what a run's address knows of.

    Args:
        path: The file.
        make: Finds it out.
        force: Go on whatever was wrong, as it was found out before.
    """
    try:
        told = json.loads(path.read_bytes())
        findings = tuple(Finding(**finding) for finding in told["findings"])
        before = Preflight(findings, told["replay"], told["seconds"])
        if force or not before.failed:
            return before
    except (OSError, ValueError, KeyError, TypeError):
        pass
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {
        "findings": [finding.__dict__ for finding in made.findings],
        "replay": made.replay,
        "seconds": made.seconds,
    }
    path.write_text(json.dumps(told), encoding="utf-8")
    return made
