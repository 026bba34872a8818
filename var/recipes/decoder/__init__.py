"""How a tokenizer's decoder goes on to learn from the tokens that its transformer draws: task, settings, presets, job.

The third stage of VAR: the decoder of stage 1 has only met tokens of images, which agree with each other to the last.
Tokens that are drawn do not, and come out as a smear.
"""
