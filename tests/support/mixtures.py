"""Data of which all is known: mixtures of Gaussians in one dimension, under any schedule."""

import torch

from diffusion_baseline.schedules import Estimate


class Mixture:
    """Its denoiser, and the distribution of x_t, exactly; images are (batch, 1)."""

    def __init__(self, weights, means, deviations):
        self.weights, self.means, self.deviations = (
            torch.tensor(values, dtype=torch.float64) for values in (weights, means, deviations)
        )

    def components(self, schedule, timesteps):
        """Signal, mean and variance of x_t within each component, (batch, components)."""
        signal, noise = (level[..., None] for level in schedule.levels(timesteps))
        return signal, signal * self.means, signal**2 * self.deviations**2 + noise**2

    def denoiser(self, schedule):
        """E[x_0 | x_t] and E[eps | x_t]."""

        def denoise(x, timesteps):
            signal, means, variances = self.components(schedule, timesteps)
            noise = schedule.levels(timesteps)[1][:, None]
            share = (self.weights.log() - 0.5 * variances.log() - 0.5 * (x - means) ** 2 / variances).softmax(dim=1)
            image = self.means + signal * self.deviations**2 / variances * (x - means)
            image = (share * image).sum(dim=1, keepdim=True)
            return Estimate(image, (x - signal * image) / noise)

        return denoise

    def below(self, x, schedule, t):
        """P(x_t < x): the ODE keeps it."""
        _, means, variances = self.components(schedule, torch.tensor(t))
        return (self.weights * torch.special.ndtr((x - means) / variances.sqrt())).sum(dim=1)
