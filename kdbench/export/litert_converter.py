"""A program of torch becomes a LiteRT model: `PYTHON litert_converter.py PROGRAM MODEL`.

It is run as a file, by a Python that has torch and litert-torch and need not have kdbench.
"""

import sys


def main(program: str, model: str) -> None:
    """Converts a program.

    Args:
        program: A file of `torch.export.save`.
        model: The file to be written.
    """
    import litert_torch
    import torch

    exported = torch.export.load(program)
    arguments, _ = exported.example_inputs
    litert_torch.convert(exported.module(), arguments).export(model)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
