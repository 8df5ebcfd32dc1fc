"""From a finished run to an export that needs no bench: the network, its preprocessing, and how well both hold."""
