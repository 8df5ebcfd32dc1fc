"""Layers that several kinds of part are built of."""
