"""Quality against real data: `python -m benchmarks`."""
