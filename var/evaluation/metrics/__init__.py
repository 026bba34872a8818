"""The second wing: from features, logits or pixels to statistics and numbers."""
