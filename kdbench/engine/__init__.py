"""The one loop: objective, frozen teacher, training, evaluation."""
