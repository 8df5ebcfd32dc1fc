"""Text without anything else: singular and plural, secrets, terminals."""
