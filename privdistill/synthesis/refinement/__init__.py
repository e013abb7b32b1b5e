"""Refinement: more candidates, made for the noised gradient target instead of merely chosen by it."""
