"""Stage 1, trained: task, settings, presets and job of the tokenizer, with its losses and its discriminator."""
