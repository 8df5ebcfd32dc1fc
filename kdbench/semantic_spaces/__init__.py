"""Label names to vectors."""

BUILTIN = {
    "table": "kdbench.semantic_spaces.table:table",
    "transformer": "kdbench.semantic_spaces.transformer:transformer",
    "hash": "kdbench.semantic_spaces.hashed:hashed",
}
