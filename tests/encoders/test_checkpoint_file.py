"""Files of weights as people have them: read whatever wraps the tensors, and never run."""

from __future__ import annotations

import argparse
import collections
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kdbench.encoders import weights
from kdbench.encoders.checkpoint_file import read, unwrapped
from kdbench.errors import UsageError
from kdbench.registry import registry


def model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Linear(4, 5))


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


def loaded(path: Path) -> nn.Module:
    held = model()
    state = unwrapped(read(path), held, str(path))
    weights.load(held, state, origin=str(path), input_weight="0.weight")
    return held


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "_orig_mod.",
        "model.",
        "backbone.",
        "encoder.",
        "net.module.",
        "module._orig_mod.model.",
        "a.b.c.d.",
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_prefix_before_every_name_is_taken_off(tmp_path: Path, prefix: str, suffix: str) -> None:
    state = model().state_dict()
    path = tmp_path / f"weights{suffix}"
    given = prefixed(state, prefix)
    save_file(given, path) if suffix == ".safetensors" else torch.save(given, path)
    held = loaded(path).state_dict()
    assert all(torch.equal(held[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    "nest",
    [
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        lambda state: {"model": state, "model_ema": prefixed(state, "module."), "args": {"lr": 1}},
        lambda state: {"model_state_dict": state, "loss": torch.tensor(0.5)},
        lambda state: {"state_dict": {"model": state}},
        lambda state: {"my_own_name": state, "epoch": 1},
        lambda state: {"state_dict": prefixed(state, "model.backbone."), "hyper_parameters": {"a": 1}},
        lambda state: {"n_averaged": torch.tensor(3), **prefixed(state, "module.")},
        lambda state: prefixed(state, "backbone.") | {"cls_head.fc.weight": torch.ones(27, 5), "mean": torch.ones(3)},
        lambda state: (
            {"0.weight": state["0.weight"], "0.bias": state["0.bias"]}
            | {f"{name[0]}._orig_mod.{name[2:]}": value for name, value in state.items() if name[0] != "0"}
        ),
        lambda state: collections.OrderedDict(state),
        lambda state: {"models": [state]},
        lambda state: {"epoch": 2, "models": ({"state_dict": prefixed(state, "module.")},)},
        lambda state: [state],
        lambda state: (
            prefixed(state, "module.")
            | {"module.projection_head.0.weight": torch.ones(8, 5), "module.prototypes.weight": torch.ones(9, 8)}
        ),
        lambda state: {
            "teacher": prefixed(state, "backbone.")
            | {"head.mlp.0.weight": torch.ones(4, 5), "head.last_layer.b": torch.ones(4)}
        },
    ],
)
def test_weights_are_found_in_what_they_are_nested_in(tmp_path: Path, nest: Any) -> None:
    state = model().state_dict()
    path = tmp_path / "checkpoint.pth"
    torch.save(nest(state), path)
    held = loaded(path).state_dict()
    assert all(torch.equal(held[name], value) for name, value in state.items())


def test_the_older_form_of_torch_save_is_read(tmp_path: Path) -> None:
    state = model().state_dict()
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(loaded(tmp_path / "old.pth").state_dict()["2.bias"], state["2.bias"])


class Evil:
    """Runs code when it is unpickled without care."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return (Path.touch, (self.witness,))


def _archive(path: Path, name: str, compression: int) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, b"0" * 1000)


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("a.pth", lambda path: torch.save(model(), path), "holds more than tensors and plain values"),
        (
            "a.pth",
            lambda path: torch.save({"state_dict": {}, "args": argparse.Namespace(a=1)}, path),
            "argparse.Namespace",
        ),
        ("a.pth", lambda path: path.write_bytes(pickle.dumps({"a": np.ones(3)})), "weights: "),
        (
            "a.pth",
            lambda path: torch.save({"epoch": 3, "lr": 0.1}, path),
            "holds no tensors by name; it holds epoch, lr",
        ),
        ("a.pth", lambda path: torch.save([torch.ones(1)], path), "holds no tensors by name; it holds list"),
        (
            "a.pth",
            lambda path: torch.save({"x": {"a": torch.ones(1)}, "y": {"a": torch.ones(1)}}, path),
            "several sets",
        ),
        ("a.pth", lambda path: path.write_bytes(b"not a checkpoint"), "in no form that is read (.pth)"),
        ("a.pth", lambda path: _archive(path, "x/data.pkl", zipfile.ZIP_DEFLATED), "torch.save did not write"),
        ("a.zip", lambda path: _archive(path, "x.txt", zipfile.ZIP_STORED), "torch.save did not write"),
        ("a.pt", lambda path: torch.jit.save(torch.jit.script(model()), path), "is a TorchScript program"),
        ("a.safetensors", lambda path: path.write_bytes(b"\xff" * 100), "cannot be read as safetensors"),
        ("a.safetensors", lambda path: torch.save({}, path), "cannot be read as safetensors"),
        ("a.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"0" * 20), "is an HDF5 file"),
        ("a.onnx", lambda path: path.write_bytes(b"\x08\x07\x12\x07pytorch"), "in no form that is read (.onnx)"),
        ("a.npz", lambda path: np.savez(path, a=np.ones(3)), "torch.save did not write"),
        (
            "model.safetensors.index.json",
            lambda path: path.write_text('{"weight_map": {}}'),
            "split into several files",
        ),
        ("a", lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "a pointer of Git LFS"),
        ("a.h", lambda path: path.write_text("<!DOCTYPE html>"), "is a web page"),
        ("a", lambda path: path.write_bytes(b""), "is empty"),
        ("a", lambda path: path.mkdir(), "is a folder"),
        ("b/a.pth", lambda _: None, "there is no file"),
    ],
)
def test_what_is_no_file_of_weights_is_named(tmp_path: Path, name: str, write: Any, said: str) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(UsageError) as caught:
        read(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert len(str(caught.value)) < 900


def test_a_file_that_would_run_code_does_not(tmp_path: Path) -> None:
    for name in ("evil.pth", "evil.bin"):
        torch.save({"state_dict": Evil(tmp_path / "ran")}, tmp_path / name)
        with pytest.raises(UsageError, match="could run code"):
            read(tmp_path / name)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Evil(tmp_path / "ran"), protocol=2))
    with pytest.raises(UsageError, match="weights: "):
        read(tmp_path / "bare.pth")
    assert not (tmp_path / "ran").exists()


def test_a_teacher_and_a_student_in_one_file_are_not_mixed_up() -> None:
    state = model().state_dict()
    both = prefixed(state, "student.") | prefixed(state, "teacher.")
    with pytest.raises(UsageError, match=r"several networks that fit: student\., teacher\."):
        unwrapped(both, model(), "FILE")


def test_an_encoder_of_timm_takes_a_wrapped_checkpoint_with_a_head_of_its_own(tmp_path: Path) -> None:
    made = registry("encoder").get("timm:resnet10t")
    first = made(3, weights="random", image_size=32)
    state = prefixed(first.backbone.state_dict(), "module.") | {"module.fc.weight": torch.ones(27, 512)}
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    path = tmp_path / "trained.pth"
    torch.save({"state_dict": state, "epoch": 7}, path)
    second = made(3, weights=str(path), image_size=32)
    assert torch.equal(second.backbone.conv1[0].weight, first.backbone.conv1[0].weight)
    assert second.pretrained.startswith("trained.pth sha256:")


def test_an_ensemble_is_refused_by_its_places(tmp_path: Path) -> None:
    state = model().state_dict()
    torch.save({"models": [state, state]}, tmp_path / "two.pth")
    with pytest.raises(UsageError, match="holds several sets of weights: 0, 1"):
        read(tmp_path / "two.pth")


@pytest.mark.parametrize("prefix", ["", "module.", "module.encoder."])
def test_the_heads_of_self_supervised_training_are_left_out_by_name(tmp_path: Path, prefix: str) -> None:
    made = registry("encoder").get("timm:resnet10t")
    first = made(3, weights="random", image_size=32)
    heads = {
        "projection_head.0.weight": torch.ones(8, 512),
        "prototypes.weight": torch.ones(9, 8),
    }
    path = tmp_path / "swav.pth"
    torch.save(prefixed(first.backbone.state_dict() | heads, prefix), path)
    second = made(3, weights=str(path), image_size=32)
    assert torch.equal(second.backbone.conv1[0].weight, first.backbone.conv1[0].weight)
    assert second.pretrained.endswith(", without its projection_head, prototypes")
    odd = first.backbone.state_dict() | {"adapter.weight": torch.ones(3)}
    torch.save(odd, path)
    with pytest.raises(UsageError, match=r"does not fit the encoder: adapter\.weight is unknown"):
        made(3, weights=str(path), image_size=32)
    less = {name: value for name, value in first.backbone.state_dict().items() if name != "conv1.0.weight"} | heads
    torch.save(less, path)
    with pytest.raises(UsageError, match=r"does not fit the encoder: conv1\.0\.weight is missing"):
        made(3, weights=str(path), image_size=32)
