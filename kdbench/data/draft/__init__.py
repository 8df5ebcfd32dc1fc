"""A first card for a folder of recordings: guesses from names of files and from what is in them."""
