"""A classifier of noisy images, and guidance by it: the same rooms as for the U-Net (task, settings, presets, job)."""
