"""Label vectors of a language model, on a tiny BERT that the tests make."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.semantic_spaces.transformer import encode, transformer

NAMES = ("sit to stand", "stand to sit", "wave")


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert") / "tiny_bert"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "sit", "to", "stand", "wave"]
    (folder / "words.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "words.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(folder)
    assert (folder / "model.safetensors").is_file()
    return folder


def test_mean_over_the_tokens_of_the_bare_name(tiny_bert: Path) -> None:
    from transformers import BertModel, BertTokenizerFast

    label_vectors = transformer(NAMES, model=str(tiny_bert))
    tokenizer = BertTokenizerFast.from_pretrained(tiny_bert)
    model = BertModel.from_pretrained(tiny_bert).eval()
    with torch.no_grad():
        hidden = model(**tokenizer("sit to stand", return_tensors="pt")).last_hidden_state[0]
    assert len(hidden) == 5
    torch.testing.assert_close(label_vectors.vectors[0], hidden[1:-1].mean(dim=0))
    assert label_vectors.name == "tiny_bert (mean)"
    assert "as encoded, mean square" in label_vectors.scale
    assert label_vectors.meaningful


def test_the_order_of_the_words_matters(tiny_bert: Path) -> None:
    vectors = encode(NAMES, str(tiny_bert), pooling="mean")
    assert vectors.shape == (3, 8)
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3


def test_the_cls_token_is_the_one_before_the_text(tiny_bert: Path) -> None:
    from transformers import BertModel, BertTokenizerFast

    tokenizer, model = BertTokenizerFast.from_pretrained(tiny_bert), BertModel.from_pretrained(tiny_bert).eval()
    with torch.no_grad():
        hidden = model(**tokenizer("wave", return_tensors="pt")).last_hidden_state[0]
    torch.testing.assert_close(encode(("wave",), str(tiny_bert), pooling="cls")[0], hidden[0])
    assert transformer(NAMES, model=str(tiny_bert), pooling="cls").name == "tiny_bert (cls)"


def test_a_tokenizer_without_a_cls_token_is_named(tiny_bert: Path, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path / "without"
    shutil.copytree(tiny_bert, folder)
    whole = PreTrainedTokenizerFast.from_pretrained(tiny_bert)
    backend = whole.backend_tokenizer
    backend.post_processor = None
    for path in folder.glob("*token*"):
        path.unlink()
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    with pytest.raises(UsageError, match="puts no CLS token before a text"):
        encode(("wave",), str(folder), pooling="cls")


def test_a_sentence_encoders_pooling_takes_all_tokens(tiny_bert: Path) -> None:
    assert not torch.allclose(
        encode(NAMES, str(tiny_bert), pooling="sentence"), encode(NAMES, str(tiny_bert), pooling="mean")
    )


def test_loading_leaves_the_random_state_as_it_was(tiny_bert: Path) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    encode(NAMES, str(tiny_bert), pooling="mean")
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_unknown_pooling_is_named(tiny_bert: Path) -> None:
    with pytest.raises(UsageError, match="unknown pooling of transformer 'max'"):
        encode(NAMES, str(tiny_bert), pooling="max")


def test_without_a_network_the_error_names_model_place_and_way_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UsageError) as caught:
        encode(NAMES, "kdbench-tests/no-such-model", pooling="mean")
    assert "'kdbench-tests/no-such-model' is neither cached nor reachable" in caught.value.message
    assert "--set semantics.model=FOLDER" in str(caught.value.hint)
    assert "--set semantics.name=table" in str(caught.value.hint)


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json"])
def test_an_incomplete_folder_is_named(tiny_bert: Path, tmp_path: Path, lost: str) -> None:
    shutil.copytree(tiny_bert, tmp_path / "bert")
    (tmp_path / "bert" / lost).unlink()
    with pytest.raises(UsageError, match="holds no complete language model"):
        encode(NAMES, str(tmp_path / "bert"), pooling="mean")


def test_truncated_or_partial_weights_are_refused(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path / "bert")
    weights = tmp_path / "bert" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="holds no complete language model"):
        encode(NAMES, str(tmp_path / "bert"), pooling="mean")
    from safetensors.torch import load, save_file

    tensors = load(whole)
    tensors.pop("encoder.layer.1.attention.self.query.weight")
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"lacks 1 weight, such as encoder\.layer\.1\.attention"):
        encode(NAMES, str(tmp_path / "bert"), pooling="mean")


@pytest.mark.parametrize("where", ["config.json", "tokenizer_config.json"])
def test_a_models_own_code_never_runs(
    tiny_bert: Path, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "bert"))
    witness = tmp_path / "ran"
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(witness)!r}).touch()\nclass Own: ...\n")
    content = json.loads((folder / where).read_text())
    if where == "config.json":
        content |= {"model_type": "own_model", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    else:
        content |= {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (folder / where).write_text(json.dumps(content))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    # A tokenizer that transformers knows itself is taken, without the code.
    with contextlib.suppress(UsageError):
        encode(NAMES, str(folder), pooling="mean")
    assert not witness.exists()


def test_pickled_weights_are_named_and_not_loaded(tiny_bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "bert"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"pytorch_model\.bin is not loaded, since it could run code"):
        encode(NAMES, str(folder), pooling="mean")


@pytest.mark.parametrize(("file", "content"), [("config.json", "[]"), ("config.json", "{"), ("tokenizer.json", "{}")])
def test_a_damaged_file_of_a_model_is_an_error_of_the_folder(
    tiny_bert: Path, tmp_path: Path, file: str, content: str
) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "bert"))
    (folder / file).write_text(content)
    with pytest.raises(UsageError, match="holds no complete language model"):
        encode(NAMES, str(folder), pooling="mean")


def test_a_path_without_a_folder_does_not_ask_the_network(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(UsageError, match="there is no such folder"):
            encode(NAMES, str(path), pooling="mean")


def test_a_model_that_is_nothing_but_its_own_code_is_refused_by_name(tiny_bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "bert"))
    content = json.loads((folder / "config.json").read_text())
    content |= {"model_type": "own_model", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="brings Python code of its own, which is never run"):
        encode(NAMES, str(folder), pooling="mean")
