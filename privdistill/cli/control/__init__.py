"""Commands of release control: what is decided, packed, verified, and written down as policy."""
