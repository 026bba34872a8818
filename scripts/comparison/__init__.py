"""The parts of `scripts/compare.py`: settings, stages, training, sampling, judging and the report."""
