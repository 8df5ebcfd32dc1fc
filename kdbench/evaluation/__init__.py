"""Predictions of a trained network, and the numbers that are made of them."""
