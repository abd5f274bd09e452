"""Personal data and secrets: found, checked, abbreviated; and what only looks like them."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from fair_answers import FAIR

from pytest_distill.errors import DistillError
from pytest_distill.gates.measures import privacy
from pytest_distill.gates.measures.privacy import PERSONAL, PERSONAL_HINT, SECRETS, findings, personal_data, secret
from pytest_distill.measuring.measure import declaration
from pytest_distill.policy import workspace
from pytest_distill.policy.model import Privacy

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data"))
# Written in two halves, so that no scanner of repositories takes a test for a leak.
AWS, GITHUB, STRIPE = (
    "AKIA" + "Z7QW3RTY2UIOP5AS",
    "ghp_" + "9aB3cD4eF5gH6iJ7kL8mN9oP0qR1sT2uV3wX",
    "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
)


def personal(text: str, config: Privacy | None = None) -> str | None:
    return declaration(personal_data).function(pl.Series([text]), config or Privacy())[0]


def hidden(text: str) -> str | None:
    return declaration(secret).function(pl.Series([text]), Privacy())[0]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("e-mail", "Write to ada.lovelace@analytical.co.uk today"),
        ("IBAN", "Pay to DE89 3704 0044 0532 0130 00."),
        ("IBAN", "GB82WEST12345698765432"),
        ("payment card", "Card 4532 0151 1283 0366, please"),
        ("payment card", "5425233430109903"),
        ("US social security number", "SSN 536-22-8726."),
        ("phone number", "+49 30 901820 17"),
        ("phone number", "+14155552671 or later".replace("555", "867")),
        ("phone number", "call (212) 736-5000 now"),
        ("phone number", "212-736-5000"),
        ("phone number", "My phone is 736 5012"),
        ("phone number", "020 7946 8123"),
        ("IP address", "from 93.184.215.14 on"),
        ("IP address", "2606:2800:0220:0001:0248:1893:25c8:1946"),
        ("Bitcoin address", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
        ("Ethereum address", "0x742d35Cc6634C0532925a3b844Bc9e7595f0bEb8"),
    ],
)
def test_personal_data(kind, text):
    got = personal(text)
    assert got is not None
    assert got.startswith(kind)


@pytest.mark.parametrize(
    "text",
    [
        *FAIR,
        "user@example.com, me@test.org, you@yourdomain.com, a@b.invalid",
        "123-456-7890 or (212) 555-0123 or 800-273-8255",
        "DE89 3704 0044 0532 0130 01",  # checksum
        "4532 0151 1283 0367",  # checksum
        "4111 1111 1111 1111",  # published for tests
        "000-12-3456 and 666-12-3456 and 078-05-1120",
        "192.168.0.1 10.0.0.1 127.0.0.1 192.0.2.7 203.0.113.9 8.8.8.8 999.1.1.1",
        "version 1.2.3.4 of 2024-01-15, 10:30:00",
        "born 1912-06-23, died 1954-06-07; pages 1134-1142",
        "3.14159265358979 and 1,000,000,000",
        "ISBN 978-3-16-148410-0",
        "call 2010-2012 the lost years",
        "0x0000000000000000000000000000000000000000",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",  # checksum
    ],
)
def test_what_only_looks_like_personal_data(text):
    assert personal(text) is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("AWS key", AWS),
        ("GitHub token", f"token: {GITHUB}"),
        ("Stripe key", STRIPE),
        ("private key", "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE"),
        ("Google key", "AIza" + "SyD4f8Kq2mZx7Lw9Rt6Yb3Vn5Hc1Jg0Qe8A"),
        ("Slack token", "xoxb-" + "2384723984-2834728934-kQ7rT2vW9x"),
        (
            "JSON web token",
            "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0" + ".dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        ),
        ("assigned secret", "api_key = 'q8Zr4Vt1Kp9Xw3Lm7Ns2'"),
    ],
)
def test_secrets(kind, text):
    got = hidden(text)
    assert got is not None
    assert got.startswith(kind)


@pytest.mark.parametrize(
    "text",
    [
        *FAIR,
        "AKIAIOSFODNN7EXAMPLE",
        "api_key = 'your_api_key_here_1234567'",
        "password: 'correct horse battery staple'",
        "token = get_token()",
        "secret = 'aaaaaaaaaaaaaaaaaaaaaaaaa'",
        "sk-learn is a library",
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_what_only_looks_like_a_secret(text):
    assert hidden(text) is None


def test_reports_do_not_repeat_what_was_found():
    assert AWS not in hidden(AWS)
    assert "lovelace" not in personal("ada.lovelace@analytical.co.uk")


def test_the_policy_allows_values_and_domains():
    config = Privacy(allow=("acme.io", "212-736-5000"))
    assert personal("help@acme.io, help@sub.acme.io, 212-736-5000", config) is None
    assert personal("help@notacme.io", config) is not None


def test_the_policys_own_patterns():
    config = Privacy(patterns={"ticket": r"TICKET-\d+"})
    assert personal("see TICKET-12", config) == "ticket: TICK… (9 characters)"
    assert personal("see ticket 12", config) is None


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "(unclosed"])
def test_a_pattern_that_re2_refuses_is_a_policy_error(tmp_path, pattern):
    with pytest.raises(DistillError, match=r"E-POLICY.*mine"):
        workspace.parse(f"[privacy.patterns]\nmine = '{pattern}'\n".encode(), tmp_path, name="distill.toml")


def test_no_pattern_hangs():
    config = Privacy(patterns={"slow": "(a+)+$", "slower": "(x*)*y", "deep": "(([a-z]+)*)+!"})
    started = time.process_time()
    personal("a" * 100_000 + "! " + "x" * 100_000 + " 1-" * 50_000 + "@" * 50_000 + "a." * 50_000, config)
    hidden(("token='" + "A1" * 60 + " ") * 2000 + "eyJ" * 50_000)
    assert time.process_time() - started < 20


@pytest.mark.parametrize(
    "text",
    [
        "ada@analytical.co.uk",
        "DE89 3704 0044 0532 0130 00",
        "4532015112830366",
        "536-22-8726",
        "+49 30 901820",
        "212-736-5000",
        "020 7946 8123",
        "93.184.215.14",
        "2606:2800:0220:0001:0248:1893:25c8:1946",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "0x742d35Cc6634C0532925a3b844Bc9e7595f0bEb8",
    ],
)
def test_the_quick_pass_misses_nothing_that_the_detectors_find(text):
    assert any(findings(text, PERSONAL, Privacy()))
    assert pl.Series([text]).str.contains(PERSONAL_HINT)[0]


@pytest.mark.parametrize("detector", [*PERSONAL, *SECRETS], ids=lambda d: d.kind)
def test_detectors_compile_in_both_engines(detector):
    privacy._compiled(detector.pattern)
    pl.Series([""]).str.contains(detector.pattern)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data: recall on Presidio's labelled sentences was not taken")
def test_recall_on_labelled_sentences():
    kinds = {
        "EMAIL_ADDRESS": "e-mail",
        "IBAN_CODE": "IBAN",
        "CREDIT_CARD": "payment card",
        "US_SSN": "US social security number",
        "PHONE_NUMBER": "phone number",
        "IP_ADDRESS": "IP address",
    }
    least = {
        "e-mail": 1.0,
        "IBAN": 0.95,
        "payment card": 0.93,
        "US social security number": 1.0,
        "phone number": 0.65,
        "IP address": 1.0,
    }
    hits, total, wrong = Counter(), Counter(), 0
    with gzip.open(SHARED / "pii" / "presidio_synth_v2.json.gz") as file:
        sentences = json.load(file)
    for sentence in sentences:
        got = list(findings(sentence["full_text"], PERSONAL, Privacy()))
        labelled = [(kinds[s["entity_type"]], s["entity_value"]) for s in sentence["spans"] if s["entity_type"] in kinds]
        for kind, value in labelled:
            total[kind] += 1
            hits[kind] += any(k == kind and (v in value or value in v) for k, v in got)
        wrong += sum(not any(v in value or value in v for _, value in labelled) for _, v in got)
    for kind, bound in least.items():
        assert hits[kind] / total[kind] >= bound, (kind, hits[kind], total[kind])
    assert wrong <= 5
