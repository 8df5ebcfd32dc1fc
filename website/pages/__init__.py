"""Pages that are made of kdbench itself: of docstrings, recipes, schemas and the command line."""
