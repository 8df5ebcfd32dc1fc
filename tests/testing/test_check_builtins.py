"""Everything that kdbench ships holds what it promises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from kdbench.data.card import load_card
from kdbench.recipes.resolve import resolve
from kdbench.registry import registry
from kdbench.testing import Report, check
from kdbench.testing.find import suite_of

SLOW = {"swin_t", "video_swin_t"}
EPOCH = "the_test_part_selects_nothing"


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("KDBENCH_DATA", raising=False)
        yield


def shipped(kind: str) -> list[str]:
    return [name for name, origin in registry(kind).origins().items() if origin.built_in]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny BERT that knows every word of the class names."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    names = " ".join(load_card("utd_mhad").class_names)
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "(",
        ")",
        *sorted(set(names.replace("(", " ").replace(")", " ").split())),
    ]
    (folder / "words.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "words.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


def demand(report: Report) -> None:
    assert report.passed, "\n".join(line for line in str(report).splitlines() if line.startswith("failed"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in ("loss", "pooling", "fusion", "representation") for name in shipped(kind)],
)
def test_a_shipped_part_passes(kind: str, name: str) -> None:
    demand(check(kind, name))


@pytest.fixture(scope="module")
def trained() -> set[str]:
    """Networks and ways of training of the methods that have been trained for an epoch."""
    return set()


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped("method"))
def test_a_shipped_method_passes(name: str, trained: set[str]) -> None:
    recipe = resolve(name, "smoke")
    # Which trials are read in an epoch does not depend on the losses of the student.
    training = str((recipe.teacher, recipe.student and recipe.student.model_copy(update={"losses": {}})))
    checks = [check for check in suite_of("method").names if check != EPOCH or training not in trained]
    trained.add(training)
    demand(check("method", name, only=checks))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in shipped("encoder")]
)
def test_a_shipped_encoder_passes(name: str) -> None:
    demand(check("encoder", name))


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in ("loss", "pooling", "fusion", "representation") for name in shipped(kind)],
)
def test_a_shipped_part_passes_on_a_gpu(kind: str, name: str) -> None:
    demand(check(kind, name, device="cuda"))


@pytest.mark.parametrize("name", shipped("semantics"))
def test_a_shipped_source_of_label_vectors_passes(name: str, bert: str) -> None:
    demand(check("semantics", name, params={"model": bert} if name == "transformer" else {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped("dataset"))
def test_a_shipped_data_set_passes_or_says_that_its_recordings_are_not_there(name: str) -> None:
    report = check("dataset", name, trials=6)
    if report.failed == ("was_checked",):
        assert f"the recordings of '{name}' are not there" in report.result("was_checked").message
        assert load_card(name).download is not None
    else:
        demand(report)
