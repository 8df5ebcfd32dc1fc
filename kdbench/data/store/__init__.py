"""Prepared data: one folder a data set and size, read through a memory map."""
