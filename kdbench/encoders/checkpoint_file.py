"""Files of weights, as people have them: read without running code, taken out of their wrapping, named as the model is.

A safetensors file holds tensors by name. A file of `torch.save` may nest them (`{"state_dict": …}`) beside an optimiser
and settings; it is read with `weights_only`, so that a file which asks for anything but plain values is refused.
"""

from __future__ import annotations

import pickle
import re
import shlex
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.errors import UsageError, shortened
from kdbench.util.forms import form_of

_TORCH = {".pt", ".pth", ".bin", ".ckpt", ".tar", ".pkl", ".pickle"}
_NESTS = (
    *("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params"),
    *("encoder", "backbone", "models", "model_ema", "ema", "ema_state_dict"),
)
"""Where a checkpoint holds its weights; the first that is there is taken."""
_DEEPEST = 4
# How a pickle begins, since protocol 2.
_PICKLED = b"\x80"
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What `torch.compile` and sharding put into names, at any depth."""
_SAVE = "Save its tensors alone: safetensors.torch.save_file(model.state_dict(), PATH)."
_EXPECTED = (
    "Expected random, pretrained, or the path of a file: .safetensors, or .pth of torch.save(model.state_dict())."
)


def read(path: Path) -> dict[str, Tensor]:
    """Reads a file of weights: safetensors, or what `torch.save` wrote, without running code.

    Returns:
        The tensors by name, out of what they are nested in.

    Raises:
        UsageError: There is no such file, or it is in another form.
    """
    if path.is_dir():
        names = ", ".join(sorted(file.name for file in path.iterdir() if file.suffix in {".safetensors", *_TORCH})[:3])
        raise UsageError(
            f"weights: {path} is a folder",
            hint=f"Name a file in it{f', such as {names}' if names else ''}. {_EXPECTED}",
        )
    if not path.is_file():
        raise UsageError(f"weights: there is no file {shortened(str(path), 200)}", hint=_EXPECTED)
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise UsageError(
            f"weights: {path} cannot be read: {error.strerror}", hint=f"Look at it: ls -ld {shlex.quote(str(path))}"
        ) from error
    # A safetensors file begins with 8 bytes for the length of its header, which is JSON.
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return _safetensors(path)
    if zipfile.is_zipfile(path) or head[:1] == _PICKLED:
        return _torch(path)
    raise UsageError(f"weights: {path} is {_form(path, head)}", hint=f"{_EXPECTED} {_SAVE}")


def _form(path: Path, head: bytes) -> str:
    if (form := form_of(head)) is not None:
        return form
    if head.lstrip()[:1] in {b"{", b"["} or path.suffix == ".json":
        return "a JSON file; weights that are split into several files are not read"
    return f"in no form that is read ({path.suffix or 'no ending'})"


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"weights: {path} cannot be read as safetensors: {shortened(str(error), 200)}",
            hint=f"Get the file again, or save it so. {_SAVE}",
        ) from error


def _torch(path: Path) -> dict[str, Tensor]:
    """What `torch.save` wrote; never more than plain values and tensors."""
    _check_unpacked(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"(?:GLOBAL|global|class|type) '?([\w.]+)'? ", str(error))
        what = f" ({wanted[1]})" if wanted else ""
        raise UsageError(
            f"weights: {path} holds more than tensors and plain values{what}, which is not loaded: it could run code",
            hint=_SAVE,
        ) from error
    # A damaged file makes torch raise whatever the damage leads to.
    except Exception as error:
        reason = shortened(str(error).partition("\n")[0], 200)
        raise UsageError(f"weights: {path} cannot be read as a file of torch.save: {reason}", hint=_SAVE) from error
    return _tensors(content, path)


def _check_unpacked(path: Path) -> None:
    """Before it is unpacked: `torch.save` compresses nothing, so what is compressed could be of any size."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UsageError(f"weights: {path} is a damaged archive: {error}", hint="Get the file again.") from error
    if any(name.endswith("constants.pkl") for name in names):
        raise UsageError(f"weights: {path} is a TorchScript program, not a file of weights", hint=_SAVE)
    if compressed or not any(name.endswith("data.pkl") for name in names):
        raise UsageError(f"weights: {path} is an archive that torch.save did not write", hint=_SAVE)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, out of what they are nested in."""
    level, way = _by_name(content), ""
    for _ in range(_DEEPEST):
        if not isinstance(level, Mapping):
            break
        level = {name: _by_name(value) for name, value in level.items()}
        tensors = {str(name): value for name, value in level.items() if isinstance(value, Tensor)}
        nested = [name for name in _NESTS if isinstance(level.get(name), Mapping) and level[name]]
        if not nested:
            nested = [name for name, value in level.items() if _holds_tensors(value)]
            if not tensors and len(nested) > 1:
                raise UsageError(
                    f"weights: {path} holds several sets of weights: {shortened(', '.join(map(str, nested)), 200)}",
                    hint=f"Save the one that is meant. {_SAVE}",
                )
        if tensors and not any(_holds_tensors(level[name]) for name in nested):
            return tensors
        if not nested:
            break
        level, way = level[nested[0]], f"{way}{nested[0]}."
    keys = shortened(", ".join(map(str, level)), 200) if isinstance(level, Mapping) else type(level).__name__
    raise UsageError(f"weights: {path} holds no tensors by name; it holds {way}{keys}", hint=_SAVE)


def _by_name(value: Any) -> Any:
    """A list of weights, as ensembles are kept, as what it holds: the one set in it, or several by their places."""
    if not isinstance(value, list | tuple) or not value or not all(isinstance(entry, Mapping) for entry in value):
        return value
    return value[0] if len(value) == 1 else {str(place): entry for place, entry in enumerate(value)}


def left_out(state: Mapping[str, Tensor], taken: Mapping[str, Tensor]) -> set[str]:
    """The modules, by the first steps of their names, of which `unwrapped` took no tensor."""
    # By identity: tensors stay the same objects under other names.
    kept = {id(value) for value in taken.values()}
    plain = _without_common({name: _WRAPPERS.sub("", name) for name in state})
    modules = {name: stripped.partition(".")[0] for name, stripped in plain.items()}
    return set(modules.values()) - {modules[name] for name, value in state.items() if id(value) in kept}


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(entry, Tensor) for entry in value.values())


def unwrapped(state: Mapping[str, Tensor], model: nn.Module, origin: str) -> dict[str, Tensor]:
    """Weights under the names that a model has, where a file puts a prefix before them (`module.`, `backbone.`).

    The prefix under which most of the model's names are found is taken off, and what has another one is left out: it
    belongs to what the network was a part of.

    Args:
        state: Tensors by name.
        model: The network.
        origin: Where they come from, for messages.

    Raises:
        UsageError: Two prefixes fit equally well, as where a file holds a teacher and a student.
    """
    names = {name: _WRAPPERS.sub("", name) for name in state}
    wanted = set(model.state_dict())
    # Each name votes for the prefixes under which the model knows it.
    counts = Counter(prefix for name in names.values() for prefix in _prefixes(name, wanted))
    if not counts:
        return {plain: state[name] for name, plain in _without_common(names).items()}
    most = max(counts.values())
    best = [prefix for prefix, count in counts.items() if count == most]
    if "" in best:
        prefix = ""
    elif len(best) == 1:
        (prefix,) = best
    else:
        raise UsageError(
            f"weights: {origin} holds several networks that fit: {', '.join(sorted(best)[:5])}",
            hint="Save the one that is meant: "
            "save_file({name.removeprefix(PREFIX): value for name, value in state.items() if …}, PATH).",
        )
    return {plain[len(prefix) :]: state[name] for name, plain in names.items() if plain.startswith(prefix)}


def _prefixes(name: str, wanted: set[str]) -> Iterator[str]:
    """What stands before one of the model's names in a name."""
    if name in wanted:
        yield ""
    for place in (match.end() for match in re.finditer(r"\.", name)):
        if name[place:] in wanted:
            yield name[:place]


def _without_common(names: Mapping[str, str]) -> dict[str, str]:
    """Names without the first steps that all of them have in common, for those who translate names themselves."""
    stripped = dict(names)
    while len(stripped) > 1:
        firsts = {name.partition(".")[0] for name in stripped.values()}
        if len(firsts) > 1 or not all("." in name for name in stripped.values()):
            break
        stripped = {name: plain.partition(".")[2] for name, plain in stripped.items()}
    return stripped
