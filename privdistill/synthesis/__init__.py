"""Public text made to match noised targets: pool, steering, teacher, selection, labels."""
