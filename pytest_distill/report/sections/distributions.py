"""Histograms of what the gates bound, and the languages of the rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_distill.measuring.columns import Columns
from pytest_distill.release.inspection import sampling_plan
from pytest_distill.report import sampling, svg
from pytest_distill.report.figures import Histogram, Missing, histograms
from pytest_distill.report.html import Html, join, tag
from pytest_distill.report.judged import Judged
from pytest_distill.report.sections.parts import table

SHARE = "share in "


def charts(judged: Judged, columns: Columns, rejected: NDArray[np.bool_]) -> Html:
    found = list(histograms(judged, columns, rejected))
    drawn = [_chart(chart) for chart in found if isinstance(chart, Histogram)]
    missing = [f"{chart.chart.title} ({chart.why})" for chart in found if isinstance(chart, Missing)]
    note = (
        "Heights are on a logarithmic scale, so that single rows can be seen. "
        "Dashed lines are the bounds of this run; the axes of lengths are logarithmic too."
    )
    if judged.workspace.policy.sha256 != judged.record.policy_sha256:
        note += " The policy was edited since this run: measures are those of today's policy."
    if missing:
        note += f" Not drawn: {'; '.join(missing)}."
    if not found:
        note = "No gate that bounds a figure of single rows applied."
    shown = [_legend(), tag("div", join(drawn), class_="charts")] if drawn else []
    return join([*shown, _sampling(judged), _languages(judged), tag("p", note, class_="note")])


def _legend() -> Html:
    keys = (("kept", "all rows"), ("out", "of these, in quarantine (for whatever reason)"), ("bound", "bound"))
    shown = [tag("span", tag("span", class_=f"key {name}"), label, class_="entry") for name, label in keys]
    return tag("p", join(shown), class_="legend")


def _chart(found: Histogram) -> Html:
    chart = found.chart
    caption = [tag("b", chart.title), tag("span", f" {chart.unit}, {chart.gate}", class_="note")]
    facts = (
        ("rows", f"{found.rows:,}"),
        ("median", svg.figure(found.median)),
        ("95%", svg.figure(found.p95)),
        ("largest", svg.figure(found.high)),
        ("beyond", f"{found.beyond:,}"),
    )
    shown = join([tag("div", tag("dt", name), tag("dd", value)) for name, value in facts])
    note = tag("p", chart.note, class_="note") if chart.note else ""
    return tag("figure", tag("figcaption", *caption), svg.histogram(found), tag("dl", shown, class_="facts"), note)


def _sampling(judged: Judged) -> Html:
    """The plan of the sampling inspection, where the batch was asked for one: under the policy of this run only."""
    here = judged.batch, judged.workspace.policy
    asked = any(gate.id == "inspection.sampling" and gate.status != "not_applicable" for gate in judged.record.gates)
    if here[0] is None or not asked or here[1].sha256 != judged.record.policy_sha256:
        return Html("")
    plan, policy = sampling_plan(judged.workspace, here[0]), here[1].inspection
    caption = f" {plan.rows:,} of {plan.lot or 0:,} rows, at most {plan.accept:,} defects, inspection.sampling"
    drawn = sampling.curve(plan, aql=policy.aql, limiting_quality=policy.limiting_quality)
    title = [tag("b", "Chance that the batch is accepted"), tag("span", caption, class_="note")]
    return tag("div", tag("figure", tag("figcaption", *title), drawn), class_="charts")


def _languages(judged: Judged) -> Html:
    shares = [
        (figure.name.removeprefix(SHARE), figure.value)
        for gate in judged.record.gates
        if gate.id == "language.decided"
        for figure in gate.figures
        if figure.name.startswith(SHARE) and isinstance(figure.value, float)
    ]
    if not shares:
        return Html("")
    rows = [(name, f"{100 * share:.3g}%", svg.bar(share, "kept")) for name, share in shares]
    return join(
        [
            tag("h3", "Languages"),
            table("Languages of the rows that remain", ("language", "share", "of all"), rows, numbers=(1,), class_="languages"),
        ]
    )
