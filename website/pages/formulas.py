"""Formulas as docstrings write them, `L = 1/B sum_b ||s_b - t_b||^2`, as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SCRIPT = r":?[A-Za-z0-9]+(?:[,:+\-][A-Za-z0-9]+)*[:']?"
_TOKEN = re.compile(
    rf"(?P<space>\s+)|(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)|(?P<script>[_^]{_SCRIPT})|(?P<word>[A-Za-z]+\d*)"
    r"|(?P<mark>\|\||->|<-|!=|<=|>=|\.\.\.|\.\.|[-+*/^_(){}\[\]<>=|,.:;'!])"
)
_GREEK = frozenset(["alpha", "beta", "gamma", "lambda", "mu", "tau", "pi", "sigma", "eta", "theta", "phi"])
_BIG = {"sum": r"\sum"}
_FUNCTIONS = frozenset(["log", "exp", "cos", "tanh", "max", "min"])
_OPERATORS = frozenset(
    {"mean", "std", "softmax", "sigmoid", "relu", "softplus", "argmax"}
    | {"KL", "CE", "MSE", "H", "ReLU", "LayerNorm", "BN", "smooth"}
)
_PLAIN = {"->": r"\to", "<-": r"\leftarrow", "!=": r"\neq", "<=": r"\leq", ">=": r"\geq", "*": r"\times "}
_DOTS = {"...": r"\ldots", "..": r"\ldots"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_WORDS = frozenset({"of", "over", "where", "and", "else", "with", "the"})


class NoFormula(ValueError):
    """The text is not a formula in the notation of the docstrings."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    before: bool
    after: bool
    """Whether a space stands before it, and after it."""


def is_formula(text: str) -> bool:
    """Whether a piece of code in a docstring is meant as mathematics: an equation, a norm, or a symbol with scripts."""
    text = " ".join(text.split())
    if re.fullmatch(r"\([\w*]+( \* \w+)?(, [\w* ]+)+\)", text):
        # The shape of a tensor.
        return False
    if any(mark in text for mark in ('"', "--", "`", "://", ": ", "=[", "np.", "torch.")):
        return False
    if re.fullmatch(r"[A-Za-z]{2,}(_[A-Za-z0-9]+)+(\.\w+)*|[A-Za-z_]+|[a-z_]+=\S+", text):
        return bool(re.fullmatch(r"[a-z]_[a-z]{1,2}|[A-Z]_[a-zA-Z]", text))
    if not re.search(r" [=/+<] |\^|\|\||_|^\(?[xk] \. |\(.*\w.*\)|^-?[a-z]+$", text):
        return False
    try:
        latex(text)
    except NoFormula:
        return False
    return True


def latex(text: str, *, fractions: bool = True) -> str:
    """The formula as LaTeX.

    Args:
        text: The formula.
        fractions: Whether quotients become fractions, which want the height of a line of their own.

    Raises:
        NoFormula: A character has no meaning here, or a bracket is not closed.
    """
    parser = _Parser(list(_tokens(" ".join(text.split()))), fractions)
    made = parser.sequence(None)
    if parser.place < len(parser.tokens):
        raise NoFormula(text)
    return made.strip()


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if not found:
            raise NoFormula(f"{text!r} at {text[place]!r}")
        end = found.end()
        if found.lastgroup != "space":
            before = place == 0 or text[place - 1] == " "
            after = end == len(text) or text[end] == " "
            yield _Token(str(found.lastgroup), found.group(), before, after)
        place = end


class _Parser:
    def __init__(self, tokens: list[_Token], fractions: bool) -> None:
        self.tokens, self.place, self.fractions = tokens, 0, fractions

    def peek(self, ahead: int = 0) -> _Token | None:
        at = self.place + ahead
        return self.tokens[at] if at < len(self.tokens) else None

    def sequence(self, closing: str | None) -> str:
        """What stands up to a closing mark; quotients of two factors become fractions."""
        made: list[str] = []
        while (token := self.peek()) and token.text != closing:
            if token.text == "/" and made:
                self.place += 1
                made.append(self._quotient(made.pop()))
            else:
                made.append(self.factor())
        if closing is not None:
            if self.peek() is None:
                raise NoFormula(f"no {closing}")
            self.place += 1
        return " ".join(made)

    def _quotient(self, above: str) -> str:
        """A fraction where both are factors; a stroke where a sum stands below, which goes on behind it."""
        below = self.peek()
        operator = above.startswith((r"\sum", r"\operatorname")) and "(" not in above
        if not self.fractions or below is None or below.text in _BIG or operator:
            return rf"{above} /"
        made = self.factor()
        return rf"\frac{{{_bare(above)}}}{{{_bare(made)}}}"

    def factor(self) -> str:
        """One symbol, number, bracket or function with its argument, and its scripts."""
        token = self.tokens[self.place]
        self.place += 1
        if token.kind == "script":
            return "{}" + self.scripts_of(token)
        if token.kind == "number":
            return token.text + self.scripts()
        if token.kind == "word":
            return self._word(token)
        return self._mark(token)

    def _word(self, token: _Token) -> str:
        if token.text == "sqrt" and (following := self.peek()) and following.text == "(":
            self.place += 1
            return rf"\sqrt{{{self.sequence(')')}}}"
        made = (_BIG.get(token.text) or _symbol(token.text)) + self.scripts()
        following = self.peek()
        while following and following.text in "([" and not following.before and token.text not in _BIG:
            self.place += 1
            inner = self.sequence(_CLOSING[following.text])
            made = rf"{made}\left{following.text}{inner}\right{_CLOSING[following.text]}" + self.scripts()
            following = self.peek()
        # MathML sets no space behind the name of a function, other than before a bracket.
        return rf"{made}\, " if "\\left" not in made and token.text in _FUNCTIONS | _OPERATORS else made

    def _mark(self, token: _Token) -> str:
        text = token.text
        if text in _CLOSING:
            inner = self.sequence(_CLOSING[text])
            left, right = ("(", ")") if text == "{" else (text, _CLOSING[text])
            return rf"\left{left}{inner}\right{right}" + self.scripts()
        if text == "<" and not token.after:
            return rf"\left\langle {self.sequence('>')}\right\rangle " + self.scripts()
        if text in ("||", "|") and token.before and token.after:
            return r"\,\Vert\," if text == "||" else r"\mid"
        if text in ("||", "|"):
            bar = r"\Vert" if text == "||" else "|"
            return rf"\left{bar} {self.sequence(text)}\right{bar} " + self.scripts()
        if text in ("_", "^", "}", ")", "]"):
            raise NoFormula(f"{text} stands alone")
        if text == "." and token.before:
            return r"\cdot"
        return _PLAIN.get(text) or _DOTS.get(text) or text

    def scripts(self) -> str:
        """The indices and powers that follow, `_i`, `^2`, `_{p=0..P}`, and the sign of `t+`."""
        made = ""
        while (token := self.peek()) and not token.before:
            if token.kind == "script":
                self.place += 1
                made += self.scripts_of(token)
            elif token.text in "_^" and (opening := self.peek(1)) and opening.text in "{(":
                self.place += 2
                made += rf"{token.text}{{{self.sequence(_CLOSING[opening.text])}}}"
            elif token.text in "'!":
                self.place += 1
                made += token.text
            elif token.text in "+-" and (token.after or self._ends(1)):
                self.place += 1
                made += rf"^{{{token.text}}}"
            else:
                break
        return made

    def _ends(self, ahead: int) -> bool:
        following = self.peek(ahead)
        return following is None or following.text in (")", "]", ",") or following.kind == "script"

    def scripts_of(self, token: _Token) -> str:
        """An index or a power that is written without brackets."""
        parts = re.split(r"([,:+\-'])", token.text[1:])
        made = "".join(_index(part) for part in parts if part)
        return rf"{token.text[0]}{{{made}}}"


def _symbol(word: str) -> str:
    if word in _GREEK:
        return rf"\{word}"
    if word == "eps":
        return r"\epsilon"
    if word == "of":
        return r"\in"
    if word in _FUNCTIONS:
        return rf"\{word}"
    if word in _OPERATORS:
        return rf"\operatorname{{{word}}}"
    if word in _WORDS:
        return rf"\ \text{{{word}}}\ "
    return word if len(word) == 1 else rf"\mathrm{{{word}}}"


def _index(part: str) -> str:
    if part in _GREEK or part == "eps":
        return rf"{_symbol(part)} "
    return (
        part if (len(part) <= 3 and part.islower()) or not part.isalpha() or len(part) == 1 else rf"\mathrm{{{part}}}"
    )


def _bare(factor: str) -> str:
    """A factor without the brackets around the whole of it, which a fraction's line replaces."""
    left, right = r"\left(", r"\right)"
    if not (factor.startswith(left) and factor.endswith(right)):
        return factor
    depth = 0
    for found in re.finditer(r"\\(left|right)[()]", factor):
        depth += 1 if found[1] == "left" else -1
        if depth == 0 and found.end() < len(factor):
            return factor
    return factor[len(left) : -len(right)]
