"""The commands of the diffusion baseline, one per module; each imports what is heavy when it runs."""
