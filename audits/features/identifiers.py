"""Identifiers and secrets inside free text: e-mail, phone, card, IBAN, web profile, IP address, keys, long numbers.

Values are found by format, checked (Luhn, ISO 7064) where the format has a checksum, and brought to one spelling, so
that `+49 (30) 1234-567` and `0049301234567` agree. Fixed formats only: names and street addresses are not seen. It
does not know sides.
"""

import re
import unicodedata
from collections.abc import Iterator

__all__ = ["KINDS", "identifiers"]

KINDS = ("email", "phone", "card", "iban", "profile", "address", "key", "number")

_EMAIL = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")
_DIGITS = re.compile(r"(?<![\d.,])\+?\d(?:[ ()./\u2010-\u2015-]{0,2}\d){6,24}(?!\d)")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])")
_PROFILE = re.compile(r"(?:https?://|www\.)[\w.-]+/[\w./?=&%+#@~-]{3,}", re.IGNORECASE)
_IP = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
_LONG = re.compile(r"[A-Za-z0-9_.-]{15}")
_DIGIT = re.compile(r"\d")
_KEY = re.compile(
    r"(?<![A-Za-z0-9_-])(?:AKIA[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|[0-9a-fA-F]{32,64}|[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,})(?![A-Za-z0-9_-])"
)


def identifiers(text: str) -> Iterator[tuple[str, str]]:
    """Yield (kind, value in its one spelling) of each identifier in a text.

    >>> sorted(identifiers("Write to Ann.B@Example.org or call +49 (30) 123-4567."))
    [('email', 'ann.b@example.org'), ('phone', '301234567')]
    """
    plain = unicodedata.normalize("NFKC", text)
    for match in _EMAIL.finditer(plain) if "@" in plain else ():
        yield "email", match.group().casefold().strip(".")
    for match in _PROFILE.finditer(plain) if "/" in plain else ():
        yield "profile", re.sub(r"^(?:https?://)?(?:www\.)?", "", match.group().casefold()).rstrip("/.")
    for match in _KEY.finditer(plain) if _LONG.search(plain) else ():
        yield "key", match.group()
    if not _DIGIT.search(plain):
        return
    for match in _IBAN.finditer(plain):
        value = match.group().replace(" ", "")
        for length in range(min(34, len(value)), 14, -1):
            if _iban(value[:length]):
                yield "iban", value[:length]
                break
    for match in _IP.finditer(plain):
        if all(int(part) < 256 for part in match.group().split(".")):
            yield "address", match.group()
    for match in _DIGITS.finditer(plain):
        yield _number(match.group())


def _number(found: str) -> tuple[str, str]:
    digits = re.sub(r"\D", "", found)
    if 13 <= len(digits) <= 19 and _luhn(digits):
        return "card", digits
    international = found.startswith("+") or digits.startswith("00")
    if (international or len(digits) >= 9) and len(digits) <= 15:
        # The last nine digits: with or without country code, trunk zero or spacing.
        return "phone", digits[-9:]
    return ("phone", digits) if len(digits) < 9 and not found.isdigit() else ("number", digits)


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _iban(value: str) -> bool:
    turned = value[4:] + value[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1
