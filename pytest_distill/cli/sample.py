"""`distill sample ID -n N --where CONDITION`: some rows of a batch, the same ones for the same seed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_distill.batch.batch import Batch
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("sample", parents=[common], help="some rows of a batch", description=__doc__)
    parser.add_argument("batch", metavar="ID")
    parser.add_argument("-n", metavar="N", dest="count", type=_positive, default=5, help="how many (5)")
    parser.add_argument(
        "--where",
        metavar="CONDITION",
        help='only rows of which it is true: SQL over columns, measures and lengths, such as "response_tokens > 200"',
    )
    parser.add_argument("--seed", type=_positive, default=1, help="which ones (1)")
    add_json_option(parser)
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def run(args: argparse.Namespace) -> None:
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.cli.common import open_workspace, print_json, print_table, say

    workspace = open_workspace(args, ad_hoc=True)
    batch = open_batch(workspace.batch_folder(args.batch))
    among = None
    if args.where is not None:
        from pytest_distill.measuring.columns import Columns
        from pytest_distill.measuring.where import matching

        among = matching(args.where, Columns.of(workspace, batch)).arg_true().to_numpy()
        say(args, f"{len(among):,} of {batch.rows:,} rows match")
    rows = list(sample(batch, args.count, args.seed, among))
    if args.json:
        print_json(rows)
        return
    for row in rows:
        values = [(name, value if isinstance(value, str) else str(value)) for name, value in row["values"].items()]
        print_table((f"row {row['row']:,}", f"{row['source']} line {row['line']}"), values)


def sample(
    batch: Batch, count: int, seed: int, among: NDArray[np.unsignedinteger[Any]] | None = None
) -> Iterator[dict[str, Any]]:
    """`count` rows (all when there are fewer) drawn without replacement, in the batch's order: position, source, line, values.

    `among`: positions of the rows to draw from; None: all.
    """
    import json

    import numpy as np

    from pytest_distill.batch.rows import json_lines
    from pytest_distill.contracts.manifest import LINE_COLUMN, SOURCE_COLUMN

    size = batch.rows if among is None else len(among)
    chosen = np.sort(np.random.default_rng(seed).choice(size, size=min(count, size), replace=False))
    if among is not None:
        chosen = among[chosen].astype(np.int64)
    start = 0
    for shard in batch.manifest.shards:
        here = chosen[(chosen >= start) & (chosen < start + shard.rows)]
        if len(here):
            frame = batch.read_shard(shard, [*batch.column_names, SOURCE_COLUMN, LINE_COLUMN])[(here - start).tolist()]
            lines = json_lines(frame, batch.manifest.columns)
            for number, source, line, values in zip(here.tolist(), frame[SOURCE_COLUMN], frame[LINE_COLUMN], lines, strict=True):
                name = batch.manifest.sources[source].name if source is not None else ""
                yield {"row": number, "source": name, "line": line, "values": json.loads(values)}
        start += shard.rows
