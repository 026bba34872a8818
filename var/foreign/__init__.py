"""What others made, opened and parsed: nowhere else does the package read a file that it did not write."""
