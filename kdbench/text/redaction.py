"""Passwords and tokens, masked in whatever leaves the process: messages, results, logs, tracebacks, commands.

What is masked is found in two ways: by the form in which secrets are written (the user part of an address,
`password=…`, `Authorization: …`, tokens with a known beginning), and by being a secret that this process was given, in
its environment or its command, in whatever words a library repeats it.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
_WORDS = (
    r"(?:password|passwd|passphrase|passwort|secret|token|credentials?|signature"
    r"|(?:api|access|secret|private|account|shared|subscription)[_\-]?key"
    r"|(?:(?<![a-z])|(?<=%3B|%26))(?:pwd|pw|pass|sig|auth|sas|jwt))"
)
_QUOTED = r"\"[^\"]*\"|'[^']*'|\{[^}]*\}"
_VALUE = rf"(?:{_QUOTED}|[^\s&'\"<>]+)"
# Spaces and quotes stay as they are where SQLAlchemy writes an address.
_SPACED = re.compile(r"(://[^\s:/@'\"<>]{0,60}:)(?!\d{1,5}(?:[/\s?]|$))([^@\n]{1,120}?)@")
_PLAIN = re.compile(r"(?:true|false|none|null|yes|no|\d|\*+)", re.IGNORECASE)
_ASSIGNED = re.compile(rf"({_WORDS}['\"]?\s*=\s*|[?&]key=)({_VALUE})", re.IGNORECASE)
_ESCAPED = re.compile(rf"({_WORDS}%3D)((?:(?!%3B|%26)[^\s&'\"<>])+)", re.IGNORECASE)
# In prose a colon follows many words; in plain data both sides are quoted.
_IN_DATA = re.compile(rf"({_WORDS}['\"]\s*:\s*)(\"[^\"]*\"|'[^']*')", re.IGNORECASE)
_LABELLED = re.compile(
    rf"((?:password|passwd|secret|api[_\-]?key|access[_\-]?key|(?:x-|private-)[a-z\-]{{0,30}}token):[ \t]*)({_VALUE})",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"(authorization['\"]?\s*[:=]\s*['\"]?(?:(?:basic|bearer|token|digest|negotiate)\s+)?|(?<!\w)bearer\s+)([^\s'\"<>]+)",
    re.IGNORECASE,
)
_KNOWN_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w\-]{16,}|hf_[A-Za-z0-9]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|sk-[\w\-]{16,}|xox[a-z]-[\w\-]{10,}|dapi[0-9a-f]{16,}|AIza[\w\-]{30,}"
    r"|eyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]*)"
)
_SECRET_NAME = re.compile(
    r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|(?:API|ACCESS|SECRET|PRIVATE|ACCOUNT)_?KEY|(?:^|_)(?:PASS|AUTH))$",
    re.IGNORECASE,
)
_SECRET_OPTION = re.compile(rf"--?[\w\-.]*{_WORDS}", re.IGNORECASE)
_APART = re.compile(r"([\s'\"<>]+)")
_SHORT = 4
"""Shorter secrets are masked only where they stand in quotes: they may be parts of ordinary words."""


def redacted(text: str, *addresses: str) -> str:
    """A text without the passwords and tokens in it; the rest stays as it is.

    Args:
        text: Anything that is shown, kept or sent.
        addresses: Addresses, beside those of the environment and the command, whose secrets the text may repeat.
    """
    text = _SPACED.sub(rf"\1{MASK}@", str(text))
    text = "".join(_address(word) if "://" in word else word for word in _APART.split(text))
    text = _named(text)
    known = _known(tuple(addresses), tuple(sys.argv[1:]), tuple(sorted(os.environ.items())))
    return known.sub(MASK, text) if known else text


def redacted_words(words: Sequence[str]) -> list[str]:
    """The words of a command without the passwords and tokens in them.

    Args:
        words: What follows the program's name; a word may be an address with spaces, or the value of an option.
    """
    words_shown: list[str] = []
    for position, word in enumerate(words):
        before = words[position - 1] if position else ""
        if _SECRET_OPTION.fullmatch(before) and not word.startswith("-"):
            words_shown.append(MASK)
        else:
            words_shown.append(redacted(_address(word) if word.count("://") == 1 else word))
    return words_shown


def _named(text: str) -> str:
    for pattern in (_ASSIGNED, _ESCAPED, _IN_DATA, _LABELLED, _HEADER):
        text = pattern.sub(_hidden, text)
    return _KNOWN_TOKEN.sub(MASK, text)


def _hidden(match: re.Match[str]) -> str:
    value = match[2]
    if _PLAIN.fullmatch(value.strip("'\"")) or not value.strip("'\""):
        return match[0]
    mark = value[0] if value[0] in "'\"" and value[-1] == value[0] else ""
    return f"{match[1]}{mark}{MASK}{mark}"


def _address(word: str) -> str:
    """A word with an address in it, without what stands before its last `@`, save a name that needs a password."""
    begin, mark, rest = word.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not mark or not at:
        return word
    scheme = re.sub(r".*[^A-Za-z0-9+.\-]", "", begin, flags=re.DOTALL).lower()
    user, colon, _ = credentials.partition(":")
    if "/" in user and (not colon or scheme.startswith(("sqlite", "file"))):
        return word
    if "http" in scheme and "/" not in user:
        # What stands alone is a token here, and either side of a colon may be one.
        return f"{begin}://{MASK}@{place}"
    return f"{begin}://{user}:{MASK}@{place}" if colon else word


@functools.lru_cache(maxsize=8)
def _known(
    addresses: tuple[str, ...], words: tuple[str, ...], environment: tuple[tuple[str, str], ...]
) -> re.Pattern[str] | None:
    """Matches what is known to be secret, as it was given and as addresses write it."""
    secrets = {secret for text in (*addresses, *words) for secret in _secrets_of(text)}
    secrets |= {word for option, word in itertools.pairwise(words) if _SECRET_OPTION.fullmatch(option)}
    for name, value in environment:
        secrets |= {value} if _SECRET_NAME.search(name) else set(_secrets_of(value))
    forms = {form for secret in secrets for form in _forms(secret) if form.strip("*") and not _PLAIN.fullmatch(form)}
    patterns = [_pattern(form) for form in sorted(forms, key=lambda form: (-len(form), form))]
    return re.compile("|".join(patterns)) if patterns else None


def _secrets_of(text: str) -> Iterator[str]:
    """What is secret in an address, or in `name=value`."""
    for word in [text] if text.count("://") == 1 else text.split():
        begin, _, rest = word.partition("://")
        if _address(word) != word:
            user, colon, password = rest.rpartition("@")[0].partition(":")
            yield password
            if "http" in begin.lower() and (not colon or password in {"", "x-oauth-basic"}):
                yield user
    for match in (*_ASSIGNED.finditer(text), *_ESCAPED.finditer(text), *_HEADER.finditer(text)):
        yield match[2].strip("'\"{}")


def _forms(secret: str) -> Iterable[str]:
    """A secret as it may be repeated: escaped, unescaped, or in the pieces that a parser cuts it into."""
    whole = {secret, unquote(secret), unquote_plus(secret)}
    whole |= {escaped for form in set(whole) for escaped in (quote(form, safe=""), quote(form), quote_plus(form))}
    pieces = {piece for form in (secret, unquote(secret)) for piece in re.split(r"[/@:?#&\s]", form)}
    return whole | {piece for piece in pieces if len(piece) >= _SHORT} | {repr(form)[1:-1] for form in whole}


def _pattern(form: str) -> str:
    plain = re.escape(form)
    if len(form) < _SHORT:
        return rf"(?<=['\"]){plain}(?=['\"])"
    before = r"(?<!\w)" if form[0].isalnum() else ""
    after = r"(?!\w)" if form[-1].isalnum() else ""
    return f"{before}{plain}{after}"
