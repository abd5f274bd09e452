"""Fidelity on real rephrasings and on the same spoilt: `python -P benchmarks/fidelity.py [--seeds] [--pairs FILE]`

Faithful pairs are GSM8K's and HumanEval's items with their rephrasings (lm-sys/llm-decontaminator). Each faithful pair has a twin
whose rephrasing was spoilt by `corruption.py`: a number changed, a negation added or a clause dropped, in turn. Half of the items
calibrate, the other half is reported. --seeds says F1 for eight splits in two halves. --pairs writes the labelled pairs, as
`distill fidelity calibrate` takes them. Exits 1 when F1 misses its mark on GSM8K or on both together; HumanEval by itself has
too few pairs to calibrate on. Needs [embed] and the shared data folder (DISTILL_SHARED_DATA).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).parent))

import corruption
import rephrased

from pytest_distill.contracts.fidelity import FidelityCalibration, FidelityPair
from pytest_distill.measuring import embedding, snippets
from pytest_distill.measuring.fidelity import figures, score
from pytest_distill.pipelines.grading import fidelity

MARK, MARKED = 0.9, ("GSM8K", "both")
SEEDS = 8

Labelled = list[tuple[FidelityPair, str]]


def pairs(data: rephrased.Data) -> Labelled:
    """Labelled pairs with what was done to them. Of programs, what their docstrings tell without the examples.

    These rephrasings give examples of their own, so a number changed there would spoil nothing.
    """
    prose, made = data.name == "GSM8K", []
    for number, (item, (asked, told)) in enumerate(zip(data.items, data.leaked, strict=True)):
        original, text = (item, asked.strip()) if prose else (snippets.snippet(item).told, snippets.snippet(told).told)
        if not (original and text):  # the set has empty ones: no rephrasing, so no pair
            continue
        made.append((FidelityPair(original=original, rephrased=text, faithful=True), "faithful"))
        names = list(corruption.KINDS)
        for kind in names[number % 3 :] + names[: number % 3]:
            spoilt = corruption.KINDS[kind](text, number)
            if spoilt is not None and spoilt != text:
                made.append((FidelityPair(original=original, rephrased=spoilt, faithful=False), kind))
                break
    return made


def report(name: str, labelled: Labelled, *, seeds: bool) -> float:
    """Calibrates on one half, prints a row of figures for the other, and returns its F1."""
    only = [pair for pair, _ in labelled]
    cosines = fidelity.compare(only, embedding.packaged())
    made = calibrated(only, cosines, seed=0)
    held = made.held_out
    print(f"\n{name}: {len(only)} pairs {dict(Counter(kind for _, kind in labelled))}; low {made.low:.3f}, high {made.high:.3f}")
    print(f"constant {made.constant:.2f}, {', '.join(f'{figure} {weight:.2f}' for figure, weight in made.weights.items())}")
    print(f"held out {held.count}: precision {held.precision:.3f}, recall {held.recall:.3f}, F1 {held.f1:.3f}")
    print(f"in doubt {held.verify_share:.1%}; F1 {held.f1_doubtful_passed:.3f} with all of these passed, ", end="")
    print(f"{held.f1_decided:.3f} over the pairs that need no verifier")
    print(f"the cosine alone, with the bound that fits the first half best: F1 {cosine_alone(only, cosines):.3f}")
    told: dict[str, Counter[str]] = {}
    for (pair, kind), cosine in zip(labelled, cosines, strict=True):
        if not fidelity.fits(pair.original, 0):
            sure = score(figures(pair.original, pair.rephrased, cosine), made)
            told.setdefault(kind, Counter())[fidelity.decide(sure, made)] += 1
    for kind, counts in told.items():
        print(f"  {kind}: {', '.join(f'{said} {count / counts.total():.1%}' for said, count in sorted(counts.items()))}")
    good, passed = told["faithful"], sum(counts["pass"] for counts in told.values())
    best = 2 * (good["pass"] + good["verify"]) / (passed + good["verify"] + good.total())
    print(f"with a verifier that is never wrong: F1 {best:.3f}")
    if seeds:
        every = [held, *(calibrated(only, cosines, seed=seed).held_out for seed in range(1, SEEDS))]
        print(f"seeds 0 to {SEEDS - 1}: F1 {' '.join(f'{one.f1:.3f}' for one in every)}, ", end="")
        mean, decided = (sum(values) / SEEDS for values in ([one.f1 for one in every], [one.f1_decided for one in every]))
        print(f"mean {mean:.3f}; of decided pairs {decided:.3f}")
    return held.f1


def calibrated(labelled: list[FidelityPair], cosines: list[float], *, seed: int) -> FidelityCalibration:
    return fidelity.calibrate(fidelity.Compared(labelled, cosines), model_sha256="0" * 64, data_sha256="0" * 64, seed=seed)


def cosine_alone(labelled: list[FidelityPair], cosines: list[float]) -> float:
    fitting, held = (
        [
            (cosine, pair.faithful is True)
            for pair, cosine in zip(labelled, cosines, strict=True)
            if fidelity.fits(pair.original, 0) is side
        ]
        for side in (True, False)
    )

    def f1(bound: float, half: list[tuple[float, bool]]) -> float:
        right = sum(truth for cosine, truth in half if cosine >= bound)
        return 2 * right / (sum(cosine >= bound for cosine, _ in half) + sum(truth for _, truth in half))

    return f1(max((cosine for cosine, _ in fitting), key=lambda bound: f1(bound, fitting)), held)


def main(arguments: Sequence[str]) -> int:
    every = {data.name: pairs(data) for data in (rephrased.gsm8k(), rephrased.humaneval())}
    every["both"] = [pair for labelled in every.values() for pair in labelled]
    if "--pairs" in arguments:
        lines = [orjson.dumps(pair.model_dump()) + b"\n" for pair, _ in every["both"]]
        Path(arguments[arguments.index("--pairs") + 1]).write_bytes(b"".join(lines))
    reached = {name: report(name, labelled, seeds="--seeds" in arguments) for name, labelled in every.items()}
    return int(any(reached[name] < MARK for name in MARKED))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
