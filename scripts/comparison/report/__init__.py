"""The report of a comparison: the only place that has words for both paradigms."""
