"""How autoencoders are trained, in whose latent space others diffuse: task, settings, presets, job."""
