"""Formulas as docstrings write them become the mathematics that they mean."""

from __future__ import annotations

import re

import pytest
from hooks import on_page_content
from latex2mathml.converter import convert
from pages import losses
from pages.formulas import NoFormula, is_formula, latex
from pages.prose import equation, mathematical, text_of

from kdbench.registry import registry


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L = 1/B sum_b ||s_b - t_b||^2", r"L=\frac{1}{B}\sum_{b}\left\Verts_{b}-t_{b}\right\Vert^{2}"),
        ("T^2 / B sum_b x_b", r"\frac{T^{2}}{B}\sum_{b}x_{b}"),
        ("KL(p || q)", r"\operatorname{KL}\left(p\,\Vert\,q\right)"),
        ("<x_i, x_j>^p / p!", r"\frac{\left\langlex_{i},x_{j}\right\rangle^{p}}{p!}"),
        ("(1 + cos(x, y)) / 2", r"\frac{1+\cos\left(x,y\right)}{2}"),
        ("(a) / (b)", r"\frac{a}{b}"),
        ("sum_{k != y} q_t,k", r"\sum_{k\neqy}q_{t,k}"),
        ("t+ = beta t_b", r"t^{+}=\betat_{b}"),
        ("sqrt(A_t) z", r"\sqrt{A_{t}}z"),
        ("|x| < beta", r"\left|x\right|<\beta"),
        ("x <- x a", r"x\leftarrowxa"),
    ],
)
def test_a_formula_means_the_same(text: str, expected: str) -> None:
    assert latex(text).replace(" ", "") == expected
    assert convert(latex(text)).startswith("<math")


def test_a_quotient_keeps_its_brackets_where_it_stays_in_the_line() -> None:
    made = latex("(a + b) / (c + d)", fractions=False).replace(" ", "")
    assert made == r"\left(a+b\right)/\left(c+d\right)"


@pytest.mark.parametrize("text", ["f(x", "x = ] y", "a # b", "1 ^"])
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(NoFormula):
        latex(text)


@pytest.mark.parametrize(
    "code", ['reduction="mean"', "align_maps", "same_class", "(B, D)", "train: joint", "kd_loss.py"]
)
def test_code_stays_code(code: str) -> None:
    assert not is_formula(code)
    assert mathematical(f"As `{code}` says.") == f"As `{code}` says."


def test_every_definition_in_a_docstring_of_a_loss_is_drawn() -> None:
    drawn = 0
    for name in losses.names():
        prose = text_of(registry("loss").get(name)).partition("\nArgs:")[0]
        for code in re.findall(r"`(L(?:_\w+)? = [^`]+)`", prose):
            assert is_formula(code), (name, code)
            assert "<math" in convert(latex(code))
            drawn += 1
    assert drawn > 45


def test_an_equation_with_words_stays_as_its_recipe_has_it() -> None:
    assert equation("L = CE(z_s, y) + T^2 KL(p || q), T = 4").startswith("$$\nL =")
    words = "at test p = (softmax(z_t) + softmax(z_s)) / 2"
    assert equation(words) == f"`{words}`"


def test_a_message_in_code_may_be_broken_and_a_name_or_an_option_may_not() -> None:
    assert on_page_content("<td><code>it has 4 columns beside the time</code></td>").startswith(
        '<td><code class="sentence">'
    )
    assert on_page_content("<td><code>--video depth</code></td>") == (
        '<td><code><span class="option">--video</span> depth</code></td>'
    )
