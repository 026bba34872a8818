"""The losses that runs of the presets had, step by step: `KIND-PRESET.jsonl`, rows of their logs.

That of the transformer shapes-32 was stopped at step 1,100 of 2,000; longer runs are compared with its end.
"""
