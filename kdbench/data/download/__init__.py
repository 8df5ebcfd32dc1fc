"""From an address to unpacked, verified files."""
