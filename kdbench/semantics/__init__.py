"""Label names to vectors."""

BUILTIN = {
    "table": "kdbench.semantics.table:table",
    "transformer": "kdbench.semantics.transformer:transformer",
    "hash": "kdbench.semantics.hashed:hashed",
}
