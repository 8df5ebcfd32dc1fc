"""Label vectors from a language model, frozen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdbench.errors import Unavailable, UsageError, shortened, unknown_value
from kdbench.registry import semantics
from kdbench.semantic_spaces.base import LabelVectors
from kdbench.text.wording import counted

POOLINGS = ("mean", "sentence", "cls")


@semantics("transformer")
def transformer(names: Sequence[str], *, model: str = "bert-base-uncased", pooling: str = "mean") -> LabelVectors:
    """Vectors of the bare class names from the last hidden layer of any transformers model, BERT by default.

    Args:
        names: The class names.
        model: A name on the Hugging Face hub, or a folder with `config.json`, the tokenizer and `model.safetensors`.
            What is cached is taken; only then is the network asked.
        pooling: `mean` over the name's own tokens; `sentence` over all of them, as sentence encoders were trained; or
            `cls`, the token that BERT puts before them, whose last hidden state its own tasks read.

    Raises:
        UsageError: The model is neither there nor reachable, the pooling is unknown, or the tokenizer has no CLS token.
    """
    vectors = encode(names, model, pooling=pooling)
    name = Path(model).name if Path(model).is_dir() else model
    mean_square = vectors.square().mean().item()
    return LabelVectors(
        vectors, name=f"{name} ({pooling})", scale=f"as encoded, mean square {mean_square:.3g} an entry"
    )


@torch.no_grad()
def encode(names: Sequence[str], model: str, *, pooling: str) -> Tensor:
    """Encodes texts one by one, so that a vector does not depend on the others.

    Args:
        names: K texts.
        model: Name or folder of a transformers model.
        pooling: `mean`, `sentence` or `cls`.

    Returns:
        `(K, S)`, float32.

    Raises:
        UsageError: The model is neither there nor reachable, or the pooling is unknown.
    """
    if pooling not in POOLINGS:
        raise unknown_value("pooling", pooling, POOLINGS, of="transformer")
    tokenizer, network = _load(str(Path(model).expanduser()) if model.startswith("~") else model)
    rows = []
    for name in names:
        tokens = tokenizer(name, return_tensors="pt", truncation=True, return_special_tokens_mask=True)
        special = tokens.pop("special_tokens_mask")[0].bool()
        try:
            hidden = network(**tokens).last_hidden_state[0]
        except (AttributeError, TypeError, ValueError, RuntimeError, IndexError) as error:
            raise UsageError(
                f"the language model '{model}' cannot encode '{shortened(name)}': {shortened(str(error), 200)}",
                hint="Name a text encoder, such as bert-base-uncased: --set semantics.model=NAME",
            ) from error
        rows.append(_pooled(hidden, special, tokens["input_ids"][0] == tokenizer.cls_token_id, pooling, model, name))
    return torch.stack(rows)


def _pooled(hidden: Tensor, special: Tensor, is_cls: Tensor | bool, pooling: str, model: str, name: str) -> Tensor:
    """One vector `(S,)` of the hidden states of a text's tokens `(N, S)`."""
    if pooling == "cls":
        if not torch.is_tensor(is_cls) or not is_cls.any():
            raise UsageError(
                f"the tokenizer of '{model}' puts no CLS token before a text",
                hint="Take the mean instead: --set semantics.pooling=mean",
            )
        return hidden[is_cls][0]
    kept = hidden if pooling == "sentence" else hidden[~special]
    if not len(kept):
        raise UsageError(
            f"the tokenizer of '{model}' makes nothing of the class name '{name}'",
            hint="Name the class in its language, or take --set semantics.pooling=sentence",
        )
    return kept.mean(dim=0)


def _load(model: str) -> tuple[Any, Any]:
    """Loads tokenizer and model quietly, and without a trace in torch's random state."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            return _from_disk_or_network(model)
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()


def _from_disk_or_network(model: str) -> tuple[Any, Any]:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from safetensors import SafetensorError

    is_path = model.startswith((".", os.sep)) or Path(model).exists()
    if is_path and not Path(model).is_dir():
        raise _missing(model, FileNotFoundError("there is no such folder"))
    try:
        return _read(model, local=True)
    except Exception as error:
        if is_path or _wants_code(error):
            raise _missing(model, error) from error
        if not isinstance(error, OSError | ValueError | SafetensorError):
            raise _missing(model, error) from error
    try:
        # Asked once: the download itself would repeat for most of a minute where there is no network.
        get_hf_file_metadata(hf_hub_url(model, "config.json"), timeout=10)
        return _read(model, local=False)
    except Exception as error:
        raise _missing(model, error) from error


def _read(model: str, *, local: bool) -> tuple[Any, Any]:
    """Tokenizer and model; weights from safetensors alone, and no Python of the model's own: both can run code."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=local, trust_remote_code=False)
    network, report = AutoModel.from_pretrained(
        model, local_files_only=local, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    # A pooler is drawn at random where the checkpoint has none, and is not used here; nothing else may be.
    if missing := [key for key in report["missing_keys"] if not key.startswith("pooler.")]:
        raise ValueError(f"model.safetensors lacks {counted(len(missing), 'weight')}, such as {sorted(missing)[0]}")
    return tokenizer, network.float().eval()


def _wants_code(error: Exception) -> bool:
    return "trust_remote_code" in str(error)


def _missing(model: str, error: Exception) -> UsageError:
    why = shortened(str(error).strip().partition("\n")[0], 300)
    kind: type[UsageError] = Unavailable
    message = f"the language model '{shortened(model)}' is neither cached nor reachable: {why}"
    if _wants_code(error):
        kind, message = UsageError, f"the language model '{model}' brings Python code of its own, which is never run"
    elif Path(model).is_dir():
        pickled = sorted(file.name for file in Path(model).glob("pytorch_model*.bin"))
        if pickled and not any(Path(model).glob("*.safetensors")):
            why = f"{pickled[0]} is not loaded, since it could run code; save the model as safetensors"
        kind, message = UsageError, f"the folder {model} holds no complete language model: {why}"
    elif model.startswith((".", os.sep)):
        kind, message = UsageError, f"the language model '{shortened(model, 200)}': {why}"
    return kind(
        message,
        hint="Put config.json, the tokenizer's files and model.safetensors into a folder and name it: "
        "--set semantics.model=FOLDER. Or go without it, with the shipped vectors: --set semantics.name=table",
    )
