"""Where circuits, qkan and classical meet, on real data. Run `python -m benchmarks --help`."""
