"""The documents of a bundle besides rows, claim, policy and decision. Each follows from those, or says so."""
