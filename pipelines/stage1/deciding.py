"""What is decided over a whole run, in the order of its plan: which accepted pairs are new, which are kept, which are surplus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_distill.contracts.stage1 import Status
from pytest_distill.contracts.stage1_run import Prospect
from pytest_distill.pipelines.stage1.apart import normal

SHINGLE: Final = 5  # words


def statuses(prospects: Sequence[Prospect], *, count: int, similarity: float) -> list[Status]:
    """The status of every prospect. The first `count` accepted ones that say something new are kept; later ones are surplus."""
    accepted = [place for place, one in enumerate(prospects) if one.outcome == "accepted"]
    fresh = {accepted[position] for position in _fresh([prospects[place] for place in accepted], similarity)}
    found: list[Status] = []
    kept = 0
    for place, one in enumerate(prospects):
        if one.outcome != "accepted":
            found.append(one.outcome)
        elif place not in fresh:
            found.append("duplicate")
        else:
            found.append("kept" if kept < count else "surplus")
            kept += 1
    return found


class Tally:
    """How many new pairs a shard has so far. Near duplicates are looked for only once there may be enough: it takes a while."""

    def __init__(self, wanted: int, similarity: float) -> None:
        self.wanted = wanted
        self.candidates = self.good_instructions = self.answered = self.good_pairs = 0
        self._similarity = similarity
        self._accepted: list[Prospect] = []
        self._instructions: set[str] = set()

    def add(self, prospects: Sequence[Prospect]) -> None:
        for one in prospects:
            first, second = one.instruction_critique, one.pair_critique
            self.candidates += 1
            self.answered += one.completion is not None
            self.good_instructions += first is not None and first.is_good and first.confident
            self.good_pairs += second is not None and second.is_good and second.confident
            if one.outcome == "accepted":
                self._accepted.append(one)
                self._instructions.add(normal(one.instruction))

    @property
    def kept(self) -> int:
        """At most so many are new: as many as there are different instructions that were accepted."""
        return len(self._instructions)

    def enough(self) -> bool:
        return self.kept >= self.wanted and len(_fresh(self._accepted, self._similarity)) >= self.wanted

    def words(self) -> str:
        """Acceptance so far, for people."""
        return (
            f"{self.candidates} candidates, instructions {_percent(self.good_instructions, self.candidates)}, "
            f"pairs {_percent(self.good_pairs, self.answered)} accepted"
        )


def _fresh(accepted: Sequence[Prospect], similarity: float) -> list[int]:
    """Positions of pairs that no earlier one says already: another instruction, and not nearly the same text."""
    if not accepted:
        return []
    import polars as pl

    from pytest_distill.measuring.folding import folded
    from pytest_distill.measuring.kernels.buffers import flat
    from pytest_distill.measuring.kernels.join import near_duplicates

    first: dict[str, int] = {}
    for position, one in enumerate(accepted):
        first.setdefault(normal(one.instruction), position)
    positions = list(first.values())
    texts = pl.Series([f"{accepted[p].instruction}\n{accepted[p].response}" for p in positions], dtype=pl.String)
    of, _ = near_duplicates(flat(folded(texts)), size=SHINGLE, threshold=similarity)
    return [position for position, earlier in zip(positions, of.tolist(), strict=True) if earlier < 0]


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "none yet"
