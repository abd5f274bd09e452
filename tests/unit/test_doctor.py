"""`distill doctor`: the variables that model libraries read, what extras are for, and what a killed writer left."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from pytest_distill.cli import doctor
from pytest_distill.cli import main as cli


@pytest.fixture
def diagnosed(tmp_path, monkeypatch, capsys):
    (tmp_path / "distill.toml").write_text("")
    monkeypatch.chdir(tmp_path)

    def run() -> dict[str, dict[str, str]]:
        cli.main(["doctor", "--json"])
        return {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}

    return run


def test_the_variables_of_the_specification_are_shown(diagnosed, monkeypatch, tmp_path):
    for name in doctor.PLACES[1:]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nowhere"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TRANSFORMERS_CACHE", str(tmp_path))
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.setenv("VLLM_API_KEY", "s3cret")
    found = diagnosed()
    assert (found["HF_HOME"]["state"], found["HF_HOME"]["found"]) == ("ok", str(tmp_path))
    assert found["TORCH_HOME"]["state"] == "note"
    assert "mkdir" in found["TORCH_HOME"]["do"]
    assert found["XDG_CONFIG_HOME"]["found"] == "not set"
    assert found["HF_HUB_OFFLINE"]["found"] == "1"
    assert "HF_HUB_CACHE" in found["TRANSFORMERS_CACHE"]["do"]
    assert found["VLLM_CPU_KVCACHE_SPACE"]["found"] == "1"
    assert "s3cret" not in json.dumps(found)
    assert {"HOME", "HF_DATASETS_CACHE", "HF_HUB_CACHE", "CUDA_VISIBLE_DEVICES", "TRANSFORMERS_OFFLINE"} <= set(found)


def test_every_extra_says_what_it_is_for(diagnosed):
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(doctor.EXTRAS) == set(declared) - {"dev"}
    found = diagnosed()
    assert all(found[f"extra [{name}]"]["do"] for name in doctor.EXTRAS if found[f"extra [{name}]"]["state"] == "note")
    for name, purpose in doctor.EXTRAS.items():
        assert found[f"extra [{name}]"]["found"].endswith(purpose)


def test_folders_of_killed_writers_are_shown_with_what_to_do(diagnosed, tmp_path):
    left = tmp_path / "batches" / ".corpus.x1y2.tmp"
    left.mkdir(parents=True)
    (left / "rows-00000.parquet").write_bytes(b"x" * (3 << 20))
    finding = diagnosed()["left over: .corpus.x1y2.tmp"]
    assert finding["state"] == "note"
    assert finding["found"].startswith("3.0 MiB")
    assert finding["do"].endswith(f"rm -r '{left}'")
    left.joinpath("rows-00000.parquet").unlink()
    left.rmdir()
    assert not [what for what in diagnosed() if what.startswith("left over")]
