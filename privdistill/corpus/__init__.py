"""The private side: files in, privacy units out."""
