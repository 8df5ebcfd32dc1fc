"""The look of every picture, and the pictures that several rooms draw."""
