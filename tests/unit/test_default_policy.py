"""The commented distill.toml that `distill init` writes says what the model says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pydantic import BaseModel

from pytest_distill.policy.model import Benchmark, Policy, WaiverEntry

DEFAULT = Path(__file__).parents[2] / "pytest_distill" / "policy" / "default.toml"


def test_its_values_are_the_defaults() -> None:
    assert Policy.model_validate(tomllib.loads(DEFAULT.read_text())) == Policy()


def test_every_value_that_can_be_written_is_written() -> None:
    written = tomllib.loads(DEFAULT.read_text())
    for name, value in Policy():
        if isinstance(value, BaseModel):
            assert set(written[name]) == {field for field, content in value if content is not None}, name
        elif name not in ("waivers", "models"):
            assert name in written


def test_every_key_is_mentioned() -> None:
    text = DEFAULT.read_text()
    tables = [value for _, value in Policy() if isinstance(value, BaseModel)]
    models = [*(type(table) for table in tables), Benchmark, WaiverEntry]
    keys = {field for model in models for field in model.model_fields}
    assert {key for key in keys if not re.search(rf"^(# )?(\[+.*)?{key}( =|\])", text, re.MULTILINE)} == set()


def test_what_is_commented_out_is_valid_too() -> None:
    lines = [re.sub(r"^# (?=\[|\w+ = )", "", line) for line in DEFAULT.read_text().splitlines()]
    lines = [line for line in lines if line not in {"benchmarks = []", "radius = 0.9"}]  # the one without, or the other way
    assert Policy.model_validate(tomllib.loads("\n".join(lines))) != Policy()
