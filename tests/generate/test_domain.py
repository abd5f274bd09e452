"""The domain head: what it learns on which rows, its two files, and the batch that it stamps."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pytest
import torch

from pytest_distill.batch.batch import open_batch
from pytest_distill.cli.main import main
from pytest_distill.contracts.domain import DOMAINS, RECORD, WEIGHTS, DomainClassifier
from pytest_distill.errors import DistillError
from pytest_distill.pipelines.grading.domain import head as heads
from pytest_distill.pipelines.grading.domain.families import families, split
from pytest_distill.pipelines.grading.domain.training import Recipe, fit, metrics
from pytest_distill.pipelines.models.hidden import open_backbone

WORDS = {
    "math": "add subtract multiply divide sum total equals half twice number",
    "code": "def return class import print lambda yield while except assert",
    "news": "minister said police reported election court today officials market talks",
}


def sentence(domain: str, rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS[domain].split()) for _ in range(12))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A batch `labelled`, 120 rows of three domains with a word each of its own, and `fresh` without labels, one row blank."""
    root = tmp_path_factory.mktemp("domains")
    (root / "distill.toml").write_text("")
    rng = random.Random(0)
    rows = [{"text": sentence(d, rng), "label": d, "document": f"{d}-{n}"} for n in range(40) for d in WORDS]
    (root / "labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fresh = [{"text": sentence(d, rng), "truth": d} for d in WORDS for _ in range(4)]
    (root / "fresh.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*fresh, {"text": " ", "truth": "none"}]))
    for name in ("labelled", "fresh"):
        assert main(["--workspace", str(root), "ingest", str(root / f"{name}.jsonl"), "--id", name, "--kind", "text"]) == 0
    return root


def train(workspace, tiny, out, *more: str) -> int:
    return main(
        ["--workspace", str(workspace), "domain", "train", "labelled", "--backbone", str(tiny), "--layer", "1",
         "--epochs", "30", "--lr", "0.01", "--group", "document", "--out", str(out), *more]
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(workspace, tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("classifiers") / "c"
    assert train(workspace, tiny, out) == 0
    return out


def test_the_head_reads_the_last_position(trained):
    head = heads.load(trained).head
    states = torch.randn(2, 5, head.head.in_features)
    assert head(states).shape == (2, len(DOMAINS)) == (2, 16)
    assert torch.equal(head(states), head(states[:, -1:, :]))


def test_training_leaves_a_record_and_the_same_bytes_again(workspace, tiny, trained, tmp_path):
    record = DomainClassifier.load(trained / RECORD)
    assert record.trained == ("code", "math", "news")
    assert record.training.rows == 120
    assert record.training.rows_held_out >= 20
    assert record.metrics.majority_f1 < 0.3
    assert record.data[0].sha256 == open_batch(workspace / "batches" / "labelled").sha256
    assert train(workspace, tiny, tmp_path / "again") == 0
    for name in (WEIGHTS, RECORD):
        assert (tmp_path / "again" / name).read_bytes() == (trained / name).read_bytes()
    assert train(workspace, tiny, tmp_path / "other", "--seed", "1") == 0
    assert (tmp_path / "other" / WEIGHTS).read_bytes() != (trained / WEIGHTS).read_bytes()


def test_the_weights_are_tensors_and_nothing_else(trained, tmp_path):
    data = (trained / WEIGHTS).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert sorted(header) == ["head.bias", "head.weight"]
    with pytest.raises(Exception, match=r"weights_only|Weights only|invalid"):
        torch.load(trained / WEIGHTS)  # named as the contract names it, and still no pickle
    copy = shutil.copytree(trained, tmp_path / "copy")
    (copy / WEIGHTS).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DistillError, match="E-DOMAIN"):
        heads.load(copy)


def test_every_row_is_stamped_in_a_derived_batch(workspace, trained, tiny, capsys):
    assert main(
        ["--workspace", str(workspace), "domain", "predict", "fresh", "--id", "stamped", "--classifier", str(trained),
         "--backbone", str(tiny), "--json"]
    ) == 0  # fmt: skip
    said = json.loads(capsys.readouterr().out)
    made, parent = open_batch(workspace / "batches" / "stamped"), open_batch(workspace / "batches" / "fresh")
    assert (said["rows"], made.manifest.parents, made.manifest.counts.quarantined) == (12, (parent.sha256,), 1)
    stamps = [json.loads(text) for text in made.column("domain")]
    texts = made.column("text").to_list()
    said_alone = heads.load(trained).domains(open_backbone(str(tiny)).last_states(texts, 1, max_tokens=256))
    assert [stamp["name"] for stamp in stamps] == [domain.name for domain in said_alone]
    assert all(DOMAINS[s["id"]] == s["name"] and 0 < s["confidence"] <= 1 for s in stamps)
    assert texts == [text for text in parent.column("text") if text.strip()]


def test_another_model_is_refused(workspace, trained, tmp_path, capsys):
    from conftest import save_tiny

    other = save_tiny(tmp_path / "other", seed=1)
    command = ["domain", "predict", "fresh", "--id", "no", "--classifier", str(trained), "--backbone", str(other)]
    assert main(["--workspace", str(workspace), *command]) == 1
    assert "ERROR [E-BACKBONE]" in capsys.readouterr().err
    assert not (workspace / "batches" / "no").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--layer", "24"], "E-LAYER"),
        (["--label", "text"], "E-DOMAIN"),
        (["--label", "nothing"], "E-COLUMN"),
        (["--min-f1", "1.01"], "E-DOMAIN"),
        (["--held-out", "1"], "E-USAGE"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_leaves_nothing(workspace, tiny, tmp_path, capsys, more, said):
    assert train(workspace, tiny, tmp_path / "no", *more) == 1
    assert f"ERROR [{said}]" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_near_duplicates_and_groups_are_never_parted():
    rng = random.Random(1)
    texts, labels, groups = [], [], []
    for domain in ("code", "math"):
        for n in range(60):
            text = sentence(domain, rng) if domain in WORDS else ""
            for copy in range(1 + n % 3):  # near duplicates: one word more at the end
                texts.append(f"{text} {'again ' * copy}".strip())
                labels.append(domain)
                groups.append(f"{domain}-{n // 2}")
    alone = families(texts, None, similarity=0.5)
    assert len(set(alone)) == 120
    grouped = families(texts, groups, similarity=0.5)
    assert len(set(grouped)) == 60
    parts = split(labels, grouped, held_out=0.2, seed=0)
    of_family: dict[int, set[str]] = {}
    for family, part in zip(grouped, parts, strict=True):
        of_family.setdefault(family, set()).add(part)
    assert all(len(found) == 1 for found in of_family.values())
    for domain in ("code", "math"):
        held = sum(part == "held_out" and label == domain for part, label in zip(parts, labels, strict=True))
        assert 0.15 <= held / labels.count(domain) <= 0.35


def test_one_family_cannot_be_split_three_ways():
    with pytest.raises(DistillError, match="E-DOMAIN"):
        split(["code"] * 30 + ["math"] * 30, [0] * 30 + list(range(30, 60)), held_out=0.2, seed=0)


def test_fitting_is_free_of_the_scale_of_the_states():
    """A step of lr means the same in every model, because it is learnt on standardised states and folded back."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 200)
    states = rng.normal(size=(200, 8)).astype(np.float32) + targets[:, None].astype(np.float32) * 2
    found = []
    for factor in (1.0, 1000.0):
        head = fit((states * np.float32(factor)).astype(np.float32), targets, Recipe(epochs=1, batch_size=8))
        scores = heads.logits(head, (states * np.float32(factor)).astype(np.float32))
        found.append(metrics(scores, targets, [0, 1], 1.0).macro_f1)
    assert found[0] == pytest.approx(found[1], abs=0.02)
    assert found[0] > 0.95
