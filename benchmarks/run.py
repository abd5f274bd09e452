"""Side by side with the peers: `python benchmarks/run.py [quality] [near] [contamination]`. All of them without a name.

Each side runs in processes of its own on one core, in turn (ours, peer, ours, ...), and medians of processor time are compared;
answers too. Peers live in an environment of their own, `benchmarks/.venv`, which the first run makes (datatrove needs spaCy
and NLTK). Needs the shared data folder (DISTILL_SHARED_DATA). Prints Markdown, as docs/benchmarks.md has it; exits 1 when a mark
is missed.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PEERS = HERE / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
PACKAGES = ("datatrove[processing]==0.10.1", "datasketch==2.0.0", "spacy>=3.8,<4")
DATA = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")).resolve()
ROUNDS = 3
ONE_CORE = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA", "POLARS_MAX", "RAYON")} | {
    "POLARS_MAX_THREADS": "1"
}


def start(python: Path | str, *arguments: object) -> dict[str, Any]:
    """One process of tasks.py, held to one core. What it says on stderr is shown when it fails."""
    core = {min(os.sched_getaffinity(0))} if hasattr(os, "sched_setaffinity") else None
    done = subprocess.run(
        [str(python), str(HERE / "tasks.py"), *map(str, arguments)],
        env={**os.environ, **ONE_CORE},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=(lambda: os.sched_setaffinity(0, core)) if core else None,
    )
    if done.returncode:
        sys.exit(f"{arguments[0]} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def speeds(ours: str, peer: str, step: int) -> tuple[float, float, list[Any], list[Any]]:
    """Documents a second of both sides (medians of alternating processes), and their answers."""
    sides: dict[str, list[float]] = {ours: [], peer: []}
    answers: dict[str, list[Any]] = {}
    for _ in range(ROUNDS):
        for name in (ours, peer):
            done = start(sys.executable if name == ours else PEERS, name, DATA, step, 3 if name == ours else 1)
            sides[name].append(done["documents"] / statistics.median(done["seconds"]))
            answers[name] = done["answer"]
    return statistics.median(sides[ours]), statistics.median(sides[peer]), answers[ours], answers[peer]


def line(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def compared(work: str, peer: str, ours: float, theirs: float, mark: float, note: str) -> bool:
    line(work, peer, f"{theirs:,.0f}", f"{ours:,.0f}", f"{ours / theirs:,.1f}x", f"{mark:g}x" if mark else "", note)
    return ours / theirs >= mark


def same(a: list[Any], b: list[Any]) -> str:
    return f"equal on {sum(x == y for x, y in zip(a, b, strict=True)):,} of {len(a):,}"


def quality() -> bool:
    ours, theirs, mine, yours = speeds("quality_ours", "quality_datatrove", 40)
    good = compared(
        "quality statistics", "datatrove, chain of three, spaCy words", ours, theirs, 50, f"keep/drop {same(mine, yours)}"
    )
    ours, theirs, mine, yours = speeds("quality_ours", "quality_datatrove_split", 10)
    compared("quality statistics", "the same with str.split for words", ours, theirs, 0, f"keep/drop {same(mine, yours)}")
    return good and mine == yours


def precision_recall(found: list[bool], exact: list[bool]) -> tuple[float, float]:
    both = sum(f and e for f, e in zip(found, exact, strict=True))
    return both / max(sum(found), 1), both / max(sum(exact), 1)


def near() -> bool:
    ours, theirs, mine, yours = speeds("near_ours", "near_datasketch", 1)
    exact = start(sys.executable, "near_exact", DATA, 1, 1)["answer"]
    (p, r), (peer_p, peer_r) = precision_recall(mine, exact), precision_recall(yours, exact)
    note = f"exact answer: {sum(exact):,} drops; precision {p:.3f}, recall {r:.3f}; datasketch {peer_p:.3f}, {peer_r:.3f}"
    return compared("near duplicates", "datasketch, 128 permutations, LSH", ours, theirs, 4, note) and p >= 0.99 and r >= 0.95


def contamination() -> bool:
    ours, theirs, _, _ = speeds("contamination_ours", "contamination_sets", 1)
    found = [
        start(sys.executable, name, DATA, 1, 1, "planted")["answer"] for name in ("contamination_ours", "contamination_sets")
    ]
    items = (len(found[0]) - 7_473) // 2
    parts = [[sum(side[a:b]) for a, b in ((0, items), (items, 2 * items), (2 * items, None))] for side in found]
    (exact, edited, train), (set_exact, set_edited, set_train) = parts
    note = (
        f"of {items:,} planted items: exact {exact:,}, edited {edited:,}, wrongly {train} of 7,473 GSM8K train; "
        f"sets: {set_exact:,}, {set_edited:,}, {set_train}"
    )
    fast = compared("contamination", "Python sets of 13-grams, joined strings", ours, theirs, 10, note)
    ours, theirs, _, _ = speeds("contamination_ours", "contamination_tuples", 1)
    compared("contamination", "the same with tuples from zip, the fastest Python we know", ours, theirs, 0, "the same")
    return fast and exact == items and edited >= 0.9 * items and train <= 7


def main(names: list[str]) -> int:
    known = {"quality": quality, "near": near, "contamination": contamination}
    if unknown := set(names) - set(known):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if not DATA.is_dir():
        sys.exit(f"{DATA} is not there: the benchmarks read real rows. Set DISTILL_SHARED_DATA.")
    if not PEERS.exists():
        print(f"installing the peers into {HERE.name}/.venv ...", file=sys.stderr)
        venv.create(HERE / ".venv", with_pip=True)
        subprocess.run([PEERS, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, each side on one; Python {platform.python_version()}"
    print(f"{machine}; documents per processor second\n")
    line("work", "peer", "peer", "ours", "ratio", "mark", "answers")
    line(*["---"] * 7)
    kept = [known[name]() for name in names or known]
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
