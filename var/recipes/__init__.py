"""Presets, and the tasks that wire a model, its data and its loss for the training loop."""
