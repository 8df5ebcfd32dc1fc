"""Weights that a network takes from a file: its own, or those that its training begins with."""

from __future__ import annotations

from pathlib import Path

from kdbench.errors import DataError, UsageError
from kdbench.network import Network
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.text.wording import some
from kdbench.util.records import read_safetensors

_NAMED = 3
"""Names of weights that a message gives at most."""


def load_files(network: Network, spec: NetworkSpec, key: str) -> None:
    """Gives a network the weights of the file that its recipe names; does nothing without one.

    Args:
        network: The network.
        spec: Its recipe.
        key: Its key in the recipe, for messages.

    Raises:
        UsageError: There is no such file, or it holds another network.
    """
    for name, path in spec.files.items():
        _load(network, path, f"{key}.{name} = {getattr(spec, name)}")


def _load(network: Network, path: Path, where: str) -> None:
    if not path.is_file():
        raise UsageError(
            f"{where}: there is no such file, and no folder of a run or a teacher with weights",
            hint="A run's weights are its student.safetensors; a teacher's lie below teachers/: kdbench runs show RUN",
        )
    try:
        network.load_state_dict(read_safetensors(path))
    except DataError as error:
        raise UsageError(
            f"{where}: {error.message.replace(f'{path} is', 'the file is')}",
            hint="Copy it again, or name another: a file of safetensors (what torch.save writes is none), or the "
            "folder of a run or a teacher.",
        ) from error
    except RuntimeError as error:
        # torch's first line is general; the second one says what does not fit, by the names of all that is missing.
        first = str(error).strip().splitlines()[1 if "\n" in str(error) else 0].strip()
        raise UsageError(
            f"{where} holds another network than the recipe describes: {some(first.split(', '), _NAMED)}",
            hint="Describe in the recipe the network that the file was made from: its branches, widths and losses.",
        ) from error
