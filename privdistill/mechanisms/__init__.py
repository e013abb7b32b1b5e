"""The only door out of the private side; one file per mechanism."""
