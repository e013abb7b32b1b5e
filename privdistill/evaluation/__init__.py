"""What a synthetic corpus is worth: students trained on it, its fidelity to the noised targets, its form."""
