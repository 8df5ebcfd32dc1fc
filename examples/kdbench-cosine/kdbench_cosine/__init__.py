"""Cosine distillation of pooled features, for kdbench."""
