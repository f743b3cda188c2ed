"""Further metrics and samples in the report."""

from __future__ import annotations

from dataclasses import replace

from made_studies import case

from algobias.reports import html
from algobias.reports.besides import further_metrics, samples
from algobias.reports.figures.points import Points
from algobias.reports.record import StudyRecord


def shown() -> StudyRecord:
    """A study whose networks have a further metric (1 more for each replicate) and a hostile sample."""
    study = case("bias")
    runs = [
        replace(
            run,
            outcome=replace(
                run.outcome,
                also={"bleu": 10.0 * (run.arm == "variant") + run.replicate},
                sample=f"<script>alert({run.outcome.seed})</script> from {run.arm}",
            ),
        )
        for run in study.runs
    ]
    return replace(study, runs=tuple(runs))


def test_mean_and_sd_of_each_arm() -> None:
    table = further_metrics(Points(shown()))
    (row,) = table["rows"]
    assert row["name"] == "bleu"
    cells = dict(zip(table["labels"], row["cells"], strict=True))
    assert cells["baseline"][0].startswith("4")  # replicates 0 to 8
    assert cells["variant"][0].startswith("14")
    assert cells["variant"][1] == "± 2.7"


def test_one_sample_of_baseline_and_of_variant_escaped() -> None:
    found = samples(Points(shown()))
    assert [sample["label"] for sample in found] == ["baseline", "variant"]
    page = html.render(shown())
    assert "from baseline" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_nothing_besides_no_section() -> None:
    page = html.render(case("bias"))
    assert "Besides the metric" not in page
    assert "Besides the metric" in html.render(shown())
