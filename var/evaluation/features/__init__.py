"""The first wing: what networks say about images, and the networks themselves."""
