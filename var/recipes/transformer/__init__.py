"""Stage 2, trained: task, settings, presets and job of the transformer, with the token cache."""
