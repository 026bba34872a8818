"""The commands of `var`, one per module; each imports what is heavy when it runs."""
