"""Public maps from text to numbers, the same for private and synthetic text."""
