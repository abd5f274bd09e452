"""The drawn curve of a sampling plan: it falls from one, and shows the two points that the plan was made for."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from pytest_distill.policy.model import Policy
from pytest_distill.policy.sampling_plan import plan_for
from pytest_distill.report import sampling


def test_the_curve_and_its_two_points() -> None:
    plan = plan_for(Policy(), bulk=True, lot=150)
    drawn = ElementTree.fromstring(str(sampling.curve(plan, aql=0.01, limiting_quality=0.1)))
    (path,) = (shape for shape in drawn if shape.get("class") == "curve")
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path.get("d", ""))]
    assert heights == sorted(heights), "downwards on the page"
    assert sum(shape.tag == "circle" for shape in drawn) == 2
    assert f"{plan.chance(0.01):.3f}" in (drawn.get("aria-label") or "")
    assert f"LQ 10%: {plan.chance(0.1):.2f}" in "".join(drawn.itertext())
    assert plan.chance(0.01) >= 0.95
    assert plan.chance(0.1) <= 0.1
