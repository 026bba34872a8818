"""The codebook that all scales share: lookup, initialisation, running means, restarts and usage statistics."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.distributed import all_reduce, broadcast, get_rank, get_world_size

from var.sampling.choosing import chosen_by
from var.vqvae.all_gather import distributed
from var.vqvae.config import VQVAEConfig

KMEANS_ITERATIONS = 15


class Codebook(nn.Module):
    """Code vectors; `usage` holds for every scale how often a step chooses each code (running mean of counts)."""

    usage: Tensor
    cluster_size: Tensor
    cluster_sum: Tensor

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.normalize = config.normalize_codes
        self.decay = config.codebook_decay
        self.restart_below = config.restart_below
        self.ema = config.codebook == "ema"
        self.blank = config.blank
        codes = torch.empty(config.vocabulary, config.width).uniform_(-1 / config.vocabulary, 1 / config.vocabulary)
        self.weight = nn.Parameter(codes, requires_grad=not self.ema)
        self.register_buffer("usage", torch.zeros(len(config.schedule), config.vocabulary))
        if self.ema or self.restart_below:
            self.register_buffer("cluster_size", torch.zeros(config.vocabulary))
        if self.ema:
            self.register_buffer("cluster_sum", torch.zeros(codes.shape))
        self._kmeans_init = self._wants_init = config.kmeans_init
        with torch.no_grad():
            self._keep_blank()

    @property
    def moved_in_forward(self) -> tuple[str, ...]:
        """The codes, where they are trained and are also placed by k-means or restarts."""
        return ("weight",) if not self.ema and (self._kmeans_init or self.restart_below) else ()

    def step_undone(self) -> None:
        """Look again whether codes were ever placed, after a training step was refused and undone."""
        self._wants_init = self._kmeans_init

    @property
    def wants_init(self) -> bool:
        """Whether the next training batch has to place the codes: k-means is on and nothing was ever observed."""
        if self._wants_init:  # read from the device once only
            self._wants_init = not bool(self.usage.any())
        return self._wants_init

    @torch.no_grad()
    def nearest(
        self,
        vectors: Float[Tensor, "batch width h w"],
        temperature: float = 0,
        generator: torch.Generator | None = None,
        scale: int = 0,
    ) -> Int64[Tensor, "batch h w"]:
        """Nearest code at every position: by squared distance, or by cosine where codes are normalised.

        Above temperature 0, a code at distance d (squared, or 1 - cosine) is drawn with a probability proportional to
        exp(-d / (temperature * mean distance to the nearest code)): stochastic sampling as in RQ-VAE (Lee et al. 2022,
        Section 3.2), in units that do not depend on the scale of the latent. At the finest `scale` a blank code is as
        if it were nearer by its share of the mean square of all codes: what is nearly said already gets the same token
        everywhere, which a transformer learns at once, and the other codes serve what is not.
        """
        flat = rearrange(vectors, "b c h w -> (b h w) c")
        blank = self.blank if scale + 1 == len(self.usage) else 0.0
        # The lower precision that autocast would choose cannot tell near codes apart.
        with torch.autocast(vectors.device.type, enabled=False):
            codes = self.weight.to(flat.dtype)
            if temperature:
                distances = _distances(flat, codes, normalize=self.normalize)
                width = temperature * distances.amin(dim=1).mean().clamp_min(1e-12)
                if blank:
                    distances[:, 0] -= blank * codes.square().sum(1).mean()
                uniform = torch.rand(len(flat), generator=generator, device=flat.device)
                chosen = chosen_by((-distances / width).float(), uniform)
            else:
                chosen = _nearest(flat, codes, normalize=self.normalize, blank=blank)
        return chosen.view(vectors.shape[0], *vectors.shape[2:])

    def entropies(
        self, vectors: Float[Tensor, "n width"], temperature: float
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Mean entropy of the soft choices of `vectors`, and entropy of their mean, in nats; both carry gradients.

        A code at distance d is chosen with a probability proportional to exp(-d / (temperature * mean distance to the
        nearest code)). A low first and a high second entropy mean sure choices that use all codes (Yu et al. 2023,
        arXiv 2310.05737, Eq. 5).
        """
        with torch.autocast(vectors.device.type, enabled=False):
            # A copy, because `observe` may move the codes before the backward pass asks for them.
            distances = _distances(vectors, self.weight.to(vectors.dtype).clone(), normalize=self.normalize)
            width = temperature * distances.detach().amin(dim=1).mean().clamp_min(1e-12)
            log_choice = (-distances / width).log_softmax(dim=1)
            choice = log_choice.exp()
            mean = choice.mean(dim=0)
            return -(choice * log_choice).sum(1).mean(), -(mean * mean.clamp_min(1e-12).log()).sum()

    @torch.no_grad()
    def init_from(self, vectors: Float[Tensor, "n width"], generator: torch.Generator | None = None) -> None:
        """Place the codes at the k-means centres of `vectors` (on every process, those of the first one)."""
        centres = _kmeans(vectors.float(), len(self.weight), generator, normalize=self.normalize)
        if distributed():
            broadcast(centres, src=0)
        if not centres.isfinite().all():
            return  # a diverged step, which the training loop will refuse, must not reach the codes
        self.weight.copy_(centres)
        if self.ema or self.restart_below:
            self.cluster_size.fill_(1.0)
        if self.ema:
            self.cluster_sum.copy_(centres)
        self._keep_blank()
        self._wants_init = False

    @torch.no_grad()
    def observe(
        self,
        vectors: Sequence[Float[Tensor, "_n width"]],
        tokens: Sequence[Int64[Tensor, " _n"]],
        generator: torch.Generator | None = None,
    ) -> None:
        """Learn from one training step: `vectors` met at every scale and the `tokens` they chose.

        Updates the usage statistics and, for an "ema" codebook, the codes (van den Oord et al. 2017, Appendix A.1),
        summed over all processes; then dead codes restart at vectors of this step, whichever process met them.
        """
        size = len(self.weight)
        counts = torch.stack([torch.bincount(scale, minlength=size) for scale in tokens]).to(self.usage.dtype)
        sums = torch.zeros_like(self.weight)
        if self.ema:
            sums.index_add_(0, torch.cat(list(tokens)), torch.cat(list(vectors)).to(sums.dtype))
        fresh = _drawn(vectors, size, generator).to(sums.dtype) if self.restart_below else sums
        if distributed():
            all_reduce(counts)
            if self.ema:
                all_reduce(sums)
        if (self.ema or self.restart_below) and not (sums.isfinite().all() and fresh.isfinite().all()):
            return  # a diverged step, which the training loop will refuse, must not reach the codes
        # The first observation counts in full, so that the statistics do not start from an empty past.
        self.usage.lerp_(counts, 1 - self.decay * self.usage.any())
        if self.ema or self.restart_below:
            self.cluster_size.lerp_(counts.sum(0), 1 - self.decay)
        if self.ema:
            self.cluster_sum.lerp_(sums, 1 - self.decay)
            means = self.cluster_sum / self.cluster_size.clamp_min(1e-12)[:, None]
            # A code that nothing chooses any more keeps its place.
            self.weight.copy_(torch.where(self.cluster_size[:, None] > 1e-3, means, self.weight))
        if self.restart_below:
            self._restart(fresh)
        self._keep_blank()

    def _keep_blank(self) -> None:
        """Leave the blank code where it is, whatever chose it."""
        if self.blank:
            self.weight[0].zero_()
            self.cluster_sum[0].zero_()

    def _restart(self, fresh: Float[Tensor, "vocabulary width"]) -> None:
        """Move the codes that are chosen too rarely to `fresh` vectors, with a new share of the use."""
        dead = self.cluster_size < self.restart_below
        # Twice the threshold leaves a restarted code some steps to be found before it may restart again.
        size = 2 * self.restart_below
        self.weight.copy_(torch.where(dead[:, None], fresh, self.weight))
        if self.ema:
            self.cluster_sum.copy_(torch.where(dead[:, None], size * fresh, self.cluster_sum))
        self.cluster_size.masked_fill_(dead, size)

    def statistics(self) -> tuple[Float[Tensor, " scales"], Float[Tensor, " scales"]]:
        """For every scale, the share of codes in use and the perplexity of their distribution, over recent steps.

        A code counts as used while its running count exceeds a hundredth of a choice per step.
        """
        share = self.usage / self.usage.sum(1, keepdim=True).clamp_min(1e-12)
        entropy = -(share * share.clamp_min(1e-12).log()).sum(1)
        return (self.usage > 0.01).float().mean(1), entropy.exp()


def _drawn(vectors: Sequence[Tensor], count: int, generator: torch.Generator | None) -> Float[Tensor, "count width"]:
    """`count` random vectors of all scales and processes: those that one process with the whole batch would draw."""
    rank, world = (get_rank(), get_world_size()) if distributed() else (0, 1)
    total = world * sum(len(scale) for scale in vectors)
    draws = torch.randint(total, (count,), generator=generator, device=vectors[0].device)
    if world > 1:
        broadcast(draws, src=0)
    drawn = torch.zeros_like(vectors[0][:1]).repeat(count, 1)
    start = 0
    for scale in vectors:
        place = draws - start - rank * len(scale)
        here = (place >= 0) & (place < len(scale))
        drawn = torch.where(here[:, None], scale[place.clamp(0, len(scale) - 1)], drawn)
        start += world * len(scale)
    if world > 1:
        all_reduce(drawn)
    return drawn


def _nearest(vectors: Tensor, codes: Tensor, *, normalize: bool, blank: float = 0.0) -> Tensor:
    """Index of the nearest code of every vector, the first as if nearer by `blank` times the mean square of all."""
    if normalize:
        return (F.normalize(vectors, dim=-1) @ F.normalize(codes, dim=-1).T).argmax(dim=1)
    # |v|^2 is the same for every code: only |c|^2 - 2 v c decides.
    squares = codes.square().sum(1)
    if blank:
        squares[0] -= blank * squares.mean()
    return torch.addmm(squares, vectors, codes.T, alpha=-2).argmin(dim=1)


def _distances(vectors: Tensor, codes: Tensor, *, normalize: bool) -> Tensor:
    """Distance of every vector to every code: squared, or 1 - cosine."""
    if normalize:
        return 1 - F.normalize(vectors, dim=-1) @ F.normalize(codes, dim=-1).T
    return torch.cdist(vectors, codes).square()


def _kmeans(
    vectors: Tensor, clusters: int, generator: torch.Generator | None, *, normalize: bool
) -> Float[Tensor, "clusters width"]:
    """Lloyd's algorithm from random vectors; a centre that loses all its vectors moves to a random one."""
    if len(vectors) < clusters:  # too few to tell apart: repeat them, slightly moved
        repeats = -(-clusters // len(vectors))
        noise = torch.empty(repeats * len(vectors), vectors.shape[1], device=vectors.device, dtype=vectors.dtype)
        noise.normal_(generator=generator)
        vectors = vectors.repeat(repeats, 1) + 0.01 * vectors.std() * noise
    order = torch.randperm(len(vectors), generator=generator, device=vectors.device)
    centres = vectors[order[:clusters]].clone()
    for _ in range(KMEANS_ITERATIONS):
        nearest = _nearest(vectors, centres, normalize=normalize)
        counts = torch.bincount(nearest, minlength=clusters)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        empty = counts == 0
        centres = sums / counts.clamp_min(1)[:, None].to(sums.dtype)
        draws = torch.randint(len(vectors), (clusters,), generator=generator, device=vectors.device)
        centres[empty] = vectors[draws][empty]
    return centres
