"""The operating characteristic of a batch's sampling plan, drawn: with which chance a batch of which quality is accepted."""

from __future__ import annotations

from pytest_distill.policy.sampling_plan import SamplingPlan
from pytest_distill.report.html import Html, tag
from pytest_distill.report.svg import HEIGHT, LEFT, RIGHT, WIDTH, picture

TOP, BOTTOM = 14, 34


def curve(plan: SamplingPlan, *, aql: float, limiting_quality: float) -> Html:
    """The OC curve from no defects to twice the limiting quality, with the plan's two points."""
    most = min(1.0, 2 * limiting_quality)
    base = HEIGHT - BOTTOM

    def x(share: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * share / most

    def y(chance: float) -> float:
        return base - (base - TOP) * chance

    shapes = []
    for chance in (0.0, 0.5, 1.0):
        at = f"{y(chance):.1f}"
        shapes.append(tag("line", class_="axis" if chance == 0 else "grid", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at))
        shapes.append(tag("text", f"{chance:g}", class_="tick end", x=LEFT - 5, y=f"{y(chance) + 3.5:.1f}"))
    for share in (0.0, most / 2, most):
        anchor = "start" if share == 0 else "end" if share == most else "middle"
        shapes.append(tag("text", f"{100 * share:.3g}%", class_=f"tick {anchor}", x=f"{x(share):.1f}", y=base + 14))
    points = [(x(share), y(chance)) for share, chance in plan.curve(most)]
    line = "".join(f"{'M' if n == 0 else 'L'}{a:.1f} {b:.1f}" for n, (a, b) in enumerate(points))
    shapes.append(tag("path", class_="curve", d=line))
    said = []
    for name, share in (("AQL", aql), ("LQ", limiting_quality)):
        chance = plan.chance(share)
        shapes.append(tag("circle", class_="point", cx=f"{x(share):.1f}", cy=f"{y(chance):.1f}", r=4))
        shapes.append(
            tag(
                "text",
                f"{name} {100 * share:.3g}%: {chance:.2f}",
                class_="label start",
                x=f"{x(share) + 7:.1f}",
                y=f"{y(chance) + 4:.1f}",
            )
        )
        said.append(f"with {100 * share:.3g}% defects ({name}) it is accepted with a chance of {chance:.3f}")
    shapes.append(tag("text", "share of defects in the batch", class_="tick middle", x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 4))
    text = f"{plan.rows:,} of {plan.lot or 0:,} rows are looked at, {plan.accept:,} defects accepted: {'; '.join(said)}."
    return picture("Chance that the batch is accepted", text, *shapes, width=WIDTH, height=HEIGHT, class_="histogram")
