"""How loss and error fall with parameters and compute: the parts of `scripts/scaling_law.py`."""
