"""Plugins: parts, recipes and data sets that kdbench does not ship.

They come from installed distributions through entry points (`discovery`), or from a single file (`file`). `origin`
says where a name comes from, `importing` imports what others wrote, `probe` finds the broken ones, `provenance` writes
down what a run used.
"""
