"""Other people's tools on the same rows, each in an environment of its own."""
