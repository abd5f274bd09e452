"""Personal data and secrets: linear-time patterns over all rows, then checks of checksums, ranges and reserved values."""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl
import re2

from pytest_distill import measure
from pytest_distill.measuring.candidates import examined, first_of
from pytest_distill.policy.model import Privacy

Check = Callable[[str], bool]


@dataclass(frozen=True)
class Detector:
    """One kind of finding. `pattern` holds in RE2 and in Rust's regex; `check` sees the first group, or the whole match."""

    kind: str
    pattern: str
    check: Check = lambda _: True

    def pieces(self, text: str) -> Iterator[str]:
        for found in _compiled(self.pattern).finditer(text):
            piece = str(found.group(1) if found.groups() and found.group(1) is not None else found.group())
            if self.check(piece):
                yield piece


# Domains reserved for examples (RFC 2606, 6761), those that texts use as if they were, and local parts that name nobody.
_RESERVED_DOMAINS = (
    "example.com",
    "example.org",
    "example.net",
    "example.edu",
    ".example",
    ".test",
    ".invalid",
    ".localhost",
    ".local",
)
_STAND_IN = re2.compile(
    r"^(?:[^@]*@(?:example\d*|e?mail|(?:your|my)?(?:domain|company|website|site|organization)(?:name)?|test|abc|xyz|foo|"
    r"bar)\.[a-z.]+"
    r"|(?:you|your[a-z._]*|user(?:name)?|name|some(?:one|body)|example|foo|bar|test|first\.last|firstname\.lastname)\d*@.*)$"
)
_TOLL_FREE = frozenset(("800", "822", "833", "844", "855", "866", "877", "888", "900"))  # lines of services, not of persons
_SHAPE_OF_SSN = re2.compile(r"\d{3}-\d{2}-\d{4}")
_SHAPES_OF_DATES = re2.compile(r"\b(?:1[89]|20)\d\d\b")
_PUBLIC_RESOLVERS = frozenset(
    ("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "208.67.222.222", "208.67.220.220", "1.2.3.4", "123.45.67.89")
)
# Country and length of its account numbers (ISO 13616).
_IBANS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 "
    "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
    "LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 "
    "SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
)
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBANS.split()}
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _digits(text: str) -> str:
    return "".join(c for c in text if c in "0123456789")


def is_real_address(mail: str) -> bool:
    """Not an address that stands for any address."""
    domain = mail.rsplit("@", 1)[1].lower()
    reserved = any(domain == d or domain.endswith("." + d.lstrip(".")) for d in _RESERVED_DOMAINS)
    return not reserved and _STAND_IN.search(mail.lower()) is None


def is_phone(text: str) -> bool:
    """7 to 15 digits, neither all alike nor in sequence, no years, no toll-free line, none of the numbers kept for fiction."""
    digits = _digits(text)
    if not 7 <= len(digits) <= 15 or len(set(digits)) < 3 or digits in "01234567890123456789" or digits in "9876543210":
        return False
    if not text.startswith("+") and (_SHAPES_OF_DATES.search(text) or _SHAPE_OF_SSN.fullmatch(text)):
        return False
    national = digits[1:] if len(digits) == 11 and digits[0] == "1" else digits
    return not (len(national) == 10 and (national[:3] in _TOLL_FREE or national[3:6] == "555")) and digits[:3] != "555"


def is_iban(text: str) -> bool:
    """Length of its country and ISO 13616's checksum (modulo 97)."""
    iban = "".join(c for c in text if c.isalnum()).upper()
    if _IBAN_LENGTHS.get(iban[:2]) != len(iban):
        return False
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


def is_card(text: str) -> bool:
    """An issuer's prefix and length, and Luhn's checksum; not one of the numbers that payment services publish for tests."""
    digits = _digits(text)
    two, four, size = int(digits[:2] or 0), int(digits[:4] or 0), len(digits)
    issued = (
        (digits[:1] == "4" and size in (13, 16, 19))
        or ((51 <= two <= 55 or 2221 <= four <= 2720) and size == 16)
        or (two in (34, 37) and size == 15)
        or ((two in (36, 38, 39) or 3000 <= four <= 3059) and size in (14, 16))
        or ((four == 6011 or two == 65 or 6440 <= four <= 6499) and size in (16, 19))
        or (3528 <= four <= 3589 and size == 16)
        or (two in (50, 56, 57, 58, 60, 61, 62, 63, 67) and 12 <= size <= 19 and four not in (6011,))
        or (four in (2131, 1800) and size == 15)
    )
    if not issued or len(set(digits)) < 3 or digits in _TEST_CARDS:
        return False
    doubled = [int(d) * 2 if place % 2 else int(d) for place, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


_TEST_CARDS = frozenset(
    ("4111111111111111", "4242424242424242", "4012888888881881", "5555555555554444", "5105105105105100", "378282246310005")
)


def is_public_ip(text: str) -> bool:
    """An address of the public internet: not private, not for documentation, not a well-known resolver."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_global and not address.is_multicast and str(address) not in _PUBLIC_RESOLVERS


_NO_SSN = ("078-05-1120", "219-09-9999")  # printed in advertisements


def is_ssn(text: str) -> bool:
    area, group, serial = text.split("-")
    return (
        area not in ("000", "666", "123")
        and area < "900"
        and group != "00"
        and serial != "0000"
        and text not in ("078-05-1120", "219-09-9999")
    )


def is_bitcoin(text: str) -> bool:
    """Base58Check: the last four bytes are the double SHA-256 of the rest."""
    number = 0
    for character in text:
        number = number * 58 + _BASE58.index(character)
    try:
        data = number.to_bytes(25, "big")
    except OverflowError:
        return False
    return hashlib.sha256(hashlib.sha256(data[:-4]).digest()).digest()[:4] == data[-4:]


_STAND_IN_WORDS = "example your xxxx test dummy placeholder sample 1234 abcd secret password < ${ "
_STAND_INS = tuple(_STAND_IN_WORDS.split())


def is_random(text: str) -> bool:
    """Letters and digits mixed with at least 3.5 bits a character: a key, not a word, a path or a placeholder."""
    lowered = text.lower()
    if any(word in lowered for word in _STAND_INS):
        return False
    if not (any(c.isdigit() for c in text) and any(c.isalpha() for c in text)):
        return False
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts) >= 3.5


def _is_no_example(text: str) -> bool:
    lowered = text.lower()
    return not any(word in lowered for word in ("example", "xxxx", "your", "0000000000", "1234567890", "abcdefgh"))


_MAIL = r"\b[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24}\b"
# A number of any national form, where a word before it says that it is a telephone's.
_CALLED = r"(?i)\b(?:phone|tel|telephone|mobile|cell|call|fax|whatsapp|dial)\b[^\d\n+(]{0,30}(\+?\(?\d[\d ().-]{5,18}\d)\b"
# What every personal datum has: one quick pass finds the rows worth a closer look.
PERSONAL_HINT = (
    r"@[A-Za-z0-9-]+\.|\d(?:[ ().-]{0,2}\d){6}|\d\.\d{1,3}\.\d{1,3}\.\d|"
    r"[0-9a-fA-F]:[0-9a-fA-F]{1,4}:[0-9a-fA-F]{1,4}:[0-9a-fA-F]|0x[0-9a-fA-F]{40}"
    r"|[A-Z]{2}\d{2} ?[A-Z0-9]{4}|[13][1-9A-HJ-NP-Za-km-z]{25}"
)
PERSONAL = (
    Detector("e-mail", _MAIL, is_real_address),
    Detector("IBAN", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", is_iban),
    Detector("payment card", r"(?:^|[^\w.,/#=-])(\d(?:[ -]?\d){11,18})\b", is_card),
    Detector("US social security number", r"(?:^|[^\d-])(\d{3}-\d{2}-\d{4})\b", is_ssn),
    Detector("phone number", r"(?:^|[^\d\w.+])(\+\d{1,3}[ .-]?\(?\d{1,4}\)?(?:[ .-]?\d{2,4}){2,4})\b", is_phone),
    Detector(
        "phone number",
        r"(?:^|[^\d\w.+/=-])((?:1[-. ]|001-)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-. ])[2-9]\d{2}[-.]\d{4})(?:x\d{1,5})?\b",
        is_phone,
    ),
    Detector(
        "phone number",
        r"(?m)(?:^|[A-Za-z:,;.] ?\(?|\()(0\d{1,4}\)?[ -]\d{2,4}[ -]\d{2,4}(?:[ -]\d{2,4})?)(?:[^\d -]|[ -][^\d]|[ -]?$)",
        is_phone,
    ),
    Detector("phone number", _CALLED, is_phone),
    Detector("IP address", r"(?:^|[^\w.])((?:\d{1,3}\.){3}\d{1,3})(?:[^\w.]|\.?\s|\.?$)", is_public_ip),
    Detector("IP address", r"\b((?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4})\b", is_public_ip),
    Detector("Bitcoin address", r"\b([13][1-9A-HJ-NP-Za-km-z]{25,34})\b", is_bitcoin),
    Detector("Ethereum address", r"\b(0x[0-9a-fA-F]{40})\b", is_random),
)
SECRETS = (
    Detector("private key", r"-----BEGIN (?:[A-Z]{2,10} )?PRIVATE KEY(?: BLOCK)?-----"),
    Detector("AWS key", r"\b((?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z2-7]{16})\b", _is_no_example),
    Detector("Google key", r"\b(AIza[0-9A-Za-z_-]{35})\b", _is_no_example),
    Detector("GitHub token", r"\b((?:gh[pousr]_[A-Za-z0-9]{36,255})|github_pat_[A-Za-z0-9_]{60,255})\b", _is_no_example),
    Detector("GitLab token", r"\b(glpat-[A-Za-z0-9_-]{20,})", _is_no_example),
    Detector("Slack token", r"\b(xox[abeoprs]-[A-Za-z0-9-]{10,250})\b", _is_no_example),
    Detector("Slack webhook", r"(hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{20,})", _is_no_example),
    Detector("Stripe key", r"\b((?:sk|rk)_live_[A-Za-z0-9]{16,250})\b", _is_no_example),
    Detector("API key", r"\b(sk-(?:proj-|ant-[a-z0-9]+-|svcacct-)?[A-Za-z0-9_-]{32,250})", is_random),
    Detector("Hugging Face token", r"\b(hf_[A-Za-z0-9]{34})\b", _is_no_example),
    Detector("npm token", r"\b(npm_[A-Za-z0-9]{36})\b", _is_no_example),
    Detector("JSON web token", r"\b(eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,})"),
    Detector(
        "assigned secret",
        r"(?i)(?:api[_-]?key|secret(?:[_-]?key)?|access[_-]?(?:key|token)|auth[_-]?token|token|passw(?:or)?d|pwd|"
        r"client[_-]?secret)"
        r"[\"']?\s*(?::|=>|=)\s*[\"']([A-Za-z0-9+/_.=-]{20,200})[\"']",
        is_random,
    ),
)


@measure(version=1, config="privacy")
def personal_data(whole_text: pl.Series, config: Privacy) -> pl.Series:
    """The first personal datum of a row as `kind: abbreviated value`, null where there is none.

    E-mail, phone, IBAN, payment card, US social security number, public IP, crypto-currency address, and the policy's own
    patterns. Values are abbreviated, because findings are printed in reports.
    """
    own = tuple(Detector(name, pattern) for name, pattern in sorted(config.patterns.items()))
    personal = _found(whole_text, PERSONAL, config, whole_text.str.contains(PERSONAL_HINT))
    if not own:
        return personal
    return first_of(personal, _found(whole_text, own, config, whole_text.is_not_null()))


@measure(version=1, config="privacy")
def secret(whole_text: pl.Series, config: Privacy) -> pl.Series:
    """The first secret of a row: keys of well-known services, private keys, tokens, random values under a secret's name."""
    frame = pl.DataFrame({"text": whole_text})
    marked = frame.select(pl.any_horizontal(pl.col("text").str.contains(d.pattern) for d in SECRETS)).to_series()
    return _found(whole_text, SECRETS, config, marked)


def findings(text: str, detectors: tuple[Detector, ...], config: Privacy) -> Iterator[tuple[str, str]]:
    """Every finding of a text as (kind, value), detector by detector, without what the policy allows."""
    allowed = {value.lower() for value in config.allow}
    for detector in detectors:
        for piece in detector.pieces(text):
            if not _is_allowed(piece.lower(), allowed):
                yield detector.kind, piece


def abbreviated(kind: str, piece: str) -> str:
    """Enough to find a value by, not enough to use it."""
    return f"{kind}: {piece[:4]}… ({len(piece)} characters)"


def _is_allowed(piece: str, allowed: set[str]) -> bool:
    """A value of the policy's list, or an e-mail address at (or below) a domain of it."""
    if piece in allowed:
        return True
    domain = piece.rpartition("@")[2] if "@" in piece else ""
    return bool(domain) and any(domain == value.lstrip("@") or domain.endswith("." + value.lstrip("@.")) for value in allowed)


def _found(texts: pl.Series, detectors: tuple[Detector, ...], config: Privacy, candidates: pl.Series) -> pl.Series:
    def first(text: str) -> str | None:
        return next((abbreviated(kind, piece) for kind, piece in findings(text, detectors, config)), None)

    return examined(first, candidates, texts)


@functools.cache
def _compiled(pattern: str) -> re2._Regexp[str]:
    return re2.compile(pattern)
