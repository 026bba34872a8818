"""The losses that runs of the presets had, step by step: `KIND-PRESET.jsonl`, rows of their logs."""
