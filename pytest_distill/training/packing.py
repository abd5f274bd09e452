"""Documents packed into windows of one length, so that no position of a batch is wasted on padding without need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from pytest_distill.errors import Code, DistillError
from pytest_distill.training.documents import TokenDocuments

if TYPE_CHECKING:
    import torch

IGNORED = -100  # the label that PyTorch's cross entropy leaves out
Ints = npt.NDArray[np.int64]


class PackedTokens:
    """Windows of `length` tokens over the documents of a set, in an order that `seed` decides (None: as they lie).

    An item is a dict of int64 tensors of shape (length,):

    input_ids     documents one after the other, EOS after each; EOS again as padding at the end of a window
    labels        as models of transformers take them, not shifted: input_ids, and IGNORED for padding and for the first token of
                  every piece of a document, which nothing before it in its own document predicts
    position_ids  0, 1, 2, ... from the beginning of each piece: what tells attention kernels where documents begin
    document_ids  0, 1, 2, ... within the window, -1 for padding: equal ids may attend to each other

    `split="cut"`: a document that does not fit is cut, and its rest opens the next window; every token is in exactly one window,
    and only the last has padding. `split="whole"`: best-fit packing; a document is cut only if it is longer than a window.
    """

    def __init__(
        self,
        documents: TokenDocuments | Path | str,
        length: int,
        *,
        split: Literal["cut", "whole"] = "cut",
        seed: int | None = None,
    ) -> None:
        """`documents` is an opened set, or the folder of an export. Raises what opening it raises, E-USAGE."""
        if length < 2 or split not in ("cut", "whole"):
            raise DistillError(Code.USAGE, f"windows of {length} tokens, split={split!r}", "length from 2 on; cut or whole.")
        self.documents = documents if isinstance(documents, TokenDocuments) else TokenDocuments(documents)
        self.length = length
        lengths = self.documents.lengths
        order = np.arange(len(lengths)) if seed is None else np.random.default_rng(seed).permutation(len(lengths))
        self._pieces, self._ends = cut(lengths, order, length) if split == "cut" else best_fit(lengths, order, length)

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Raises IndexError beyond the last window."""
        import torch

        return {name: torch.from_numpy(values) for name, values in self.window(index).items()}

    def window(self, index: int) -> dict[str, Ints]:
        """A window as numpy arrays."""
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        ids = np.full(self.length, self.documents.manifest.eos_token_id, np.int64)
        labels = np.full(self.length, IGNORED, np.int64)
        positions = np.zeros(self.length, np.int64)
        owners = np.full(self.length, -1, np.int64)
        at = 0
        first = int(self._ends[index - 1]) if index else 0
        for number, (document, start, stop) in enumerate(self._pieces[first : self._ends[index]].tolist()):
            until = at + stop - start
            ids[at:until] = self.documents.ids(document)[start:stop]
            labels[at + 1 : until] = ids[at + 1 : until]
            positions[at:until] = np.arange(stop - start)
            owners[at:until] = number
            at = until
        positions[at:] = np.arange(self.length - at)
        return {"input_ids": ids, "labels": labels, "position_ids": positions, "document_ids": owners}


def cut(lengths: Ints, order: Ints, length: int) -> tuple[Ints, Ints]:
    """Pieces (document, start, stop), int64 of shape (pieces, 3), and for each window the end of its pieces among them.

    The documents in order are one stream, cut every `length` tokens.
    """
    sizes = lengths[order]
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    borders = np.unique(np.concatenate((ends, np.arange(length, total, length), [total])))
    starts = np.concatenate(([0], borders[:-1]))
    which = np.searchsorted(ends, starts, side="right")
    offset = ends[which] - sizes[which]
    pieces = np.stack((order[which], starts - offset, borders - offset), axis=1)
    windows = -(-total // length)
    return pieces, np.searchsorted(borders, np.minimum(np.arange(1, windows + 1) * length, total), side="right")


def best_fit(lengths: Ints, order: Ints, length: int) -> tuple[Ints, Ints]:
    """As `cut`, by best-fit decreasing (Ding et al. 2024, arXiv:2404.10830): the longest piece first, each into the fullest
    window that has room. Documents longer than a window are cut into windows first. Windows come in the order of their first
    piece in `order`."""
    pieces: list[tuple[int, int, int]] = []
    for document in order.tolist():
        size = int(lengths[document])
        pieces += [(document, start, min(start + length, size)) for start in range(0, size, length)]
    by_size = sorted(range(len(pieces)), key=lambda number: pieces[number][1] - pieces[number][2])  # stable: ties in order
    windows: list[list[int]] = []
    room: dict[int, list[int]] = {}  # free tokens -> windows, the latest last
    free = np.zeros(length + 1, np.int64)  # how many windows have so much room
    for number in by_size:
        size = pieces[number][2] - pieces[number][1]
        fitting = np.flatnonzero(free[size:])
        left = size + int(fitting[0]) if len(fitting) else 0
        if left:
            window = room[left].pop()
            free[left] -= 1
            windows[window].append(number)
        else:
            left, window = length, len(windows)
            windows.append([number])
        room.setdefault(left - size, []).append(window)
        free[left - size] += left > size
    windows.sort(key=min)
    chosen = np.array([pieces[number] for window in windows for number in sorted(window)], np.int64).reshape(-1, 3)
    return chosen, np.cumsum([len(window) for window in windows])
