"""Sources that preprocessing meets, small, and a run over them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_distill.batch.batch import Batch
from pytest_distill.pipelines.preprocess import config
from pytest_distill.pipelines.preprocess.run import preprocess
from pytest_distill.policy import workspace
from pytest_distill.policy.workspace import Workspace

_TABLE = (
    "river stone morning garden window letter market winter bridge summer village doctor teacher kitchen forest mountain "
    "carries follows answers reminds gathers watches repairs borrows describes remembers quietly slowly often never perhaps "
    "between under behind without against because although whenever the a this every some another small bright old careful"
)
WORDS = tuple(_TABLE.split())


def prose(seed: int, words: int = 80) -> str:
    """English of a kind: no two seeds give texts that are alike."""
    rng = random.Random(seed)
    sentences = []
    while words > 0:
        count = min(words, rng.randint(6, 14))
        sentences.append(" ".join(rng.choice(WORDS) for _ in range(count)).capitalize() + ".")
        words -= count
    return " ".join(sentences)


def make_workspace(folder: Path) -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "distill.toml").write_text("schema_version = 1\n")
    return workspace.load(folder)


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def settings(**values: Any) -> config.Config:
    base = config.load(None, languages=("en",))
    return config.Config.model_validate(base.model_dump() | values)


def run(place: Workspace, sources: Sequence[Path | str], batch_id: str = "out", **values: Any) -> Batch:
    options = {name: values.pop(name) for name in ("engine", "resume", "stop", "told") if name in values}
    return preprocess([str(source) for source in sources], place, batch_id, settings(**values), **options)


def dropped(batch: Batch) -> dict[int, str]:
    """Line -> reason of what the batch's quarantine holds."""
    import pyarrow.parquet as pq

    if batch.manifest.quarantine is None:
        return {}
    table = pq.read_table(batch.folder / batch.manifest.quarantine.path)
    return dict(zip(table["line"].to_pylist(), table["reason"].to_pylist(), strict=True))
