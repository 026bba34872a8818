"""VAE, GAN and normalising flow: their mathematics against closed forms, and what families promise of their draws."""

import math

import pytest
import torch
from comparison.families.flow import Flow, FlowConfig, FlowFamily
from comparison.families.gan import GAN, GANConfig, GANFamily, GANTask, critic_loss, gradient_penalty
from comparison.families.logistic import drawn_levels, log_mass
from comparison.families.model import ImageConfig, Sampling
from comparison.families.pipeline import FamilyPipeline
from comparison.families.vae import VAE, VAEConfig, VAEFamily
from torch.distributions import MultivariateNormal, Normal

from var.conditions import Condition
from var.data import ArrayData
from var.errors import UserError
from var.recipes.vqvae.gan_losses import generator_loss
from var.runs.cost import training_flops
from var.training import TrainingConfig, train

SIZE = {"channels": 1, "height": 4, "width": 4, "num_classes": 3, "levels": 5}
LABELS = torch.tensor([0, 2, 1])


def spread(network, by=0.2):
    """Away from the start, where couplings are the identity and labels matter little."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return network.eval()


def tiny_flow(**changes):
    return Flow(FlowConfig(**{**SIZE, "couplings": 2, "hidden": 8, **changes}))


def tiny_vae(**changes):
    return VAE(VAEConfig(**{**SIZE, "latent": 4, "base_channels": 8, **changes}))


def tiny_gan(**changes):
    return GAN(GANConfig(**{**SIZE, "latent": 4, "hidden": 8, **changes}))


TINY = {"flow": tiny_flow, "vae": tiny_vae, "gan": tiny_gan}


def grey(count, network, seed=0):
    """Images of the levels that the network was told of."""
    config, generator = network.config, torch.Generator().manual_seed(seed)
    levels = torch.randint(config.levels, (count, *config.shape), generator=generator)
    return levels * 2 / (config.levels - 1) - 1


def test_flow_comes_back():
    flow = spread(tiny_flow()).double()
    values = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    latents, _ = flow.latents(values, LABELS)
    assert torch.allclose(flow.inverse(latents, LABELS), values, atol=1e-9)
    other, _ = flow.latents(values, LABELS.flip(0))
    assert not torch.allclose(other[0], latents[0], atol=1e-2)  # the class matters


def test_flow_log_determinant_is_that_of_the_jacobian():
    flow = spread(tiny_flow()).double()
    values = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    _, found = flow.latents(values, LABELS[:2])
    for place in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda x, label=LABELS[place : place + 1]: flow.latents(x[None], label)[0][0], values[place]
        )
        assert isinstance(jacobian, torch.Tensor)
        assert found[place].item() == pytest.approx(torch.linalg.slogdet(jacobian.view(16, 16)).logabsdet.item())


def test_flow_of_linear_layers_is_a_gaussian_of_logits():
    flow = spread(tiny_flow()).double()
    for coupling in flow.couplings:
        for parameter in coupling.last.parameters():
            torch.nn.init.zeros_(parameter)
    zero = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    label = LABELS[1:2]
    shift = flow.latents(zero, label)[0][0]
    matrix = torch.autograd.functional.jacobian(lambda x: flow.latents(x[None], label)[0][0], zero[0]).view(16, 16)
    mean, log_deviation = flow.prior(label)[0].chunk(2)
    back = matrix.inverse()
    of_logits = MultivariateNormal(back @ (mean - shift), back @ torch.diag((2 * log_deviation).exp()) @ back.T)
    values = grey(1, flow).double()
    margin = 0.025
    share = margin + (1 - 2 * margin) * (values + 1.25) / 2.5  # five levels reach half a step of 0.5 beyond both ends
    slope = ((1 - 2 * margin) / 2.5 / (share * (1 - share))).log().sum()
    expected = of_logits.log_prob(share.logit().flatten()) + slope
    assert flow.log_density(values, label).item() == pytest.approx(expected.item())


def test_flow_density_integrates_to_one():
    flow = spread(tiny_flow(height=2, width=2, scales=1), 0.1).double()
    side = 10
    axis = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    share = torch.cartesian_prod(axis, axis, axis, axis).view(-1, 1, 2, 2)
    values = (share - 0.025) / 0.95 * 2.5 - 1.25
    with torch.no_grad():
        density = flow.log_density(values, LABELS[:1].expand(len(values))).exp()
    assert density.mean().item() * (2.5 / 0.95) ** 4 == pytest.approx(1, abs=0.02)


def test_flow_draws_grey_levels_and_knows_their_bins():
    flow = spread(tiny_flow())
    pipe = FamilyPipeline(flow)
    images = pipe(LABELS, seeds=range(3), output_type="pt").images * 2 - 1
    assert torch.allclose((images + 1) * 2, ((images + 1) * 2).round(), atol=1e-5)
    bits = pipe.bits_per_dimension(images, LABELS, torch.Generator().manual_seed(0))
    assert torch.isfinite(bits).all()


def test_flow_of_odd_sides_is_refused():
    with pytest.raises(UserError, match="multiples of 4, got 6x4"):
        FlowConfig(**{**SIZE, "height": 6})


def test_levels_share_the_whole_probability():
    means, log_scales = torch.randn(2, 50)
    levels = torch.linspace(-1, 1, 17)[:, None].expand(17, 50)
    mass = log_mass(levels, means.expand_as(levels), log_scales.expand_as(levels), 17).exp()
    assert torch.allclose(mass.sum(0), torch.ones(50), atol=1e-5)
    middle = ((torch.tensor([1 / 16, -1 / 16]) - means[0]) / log_scales[0].exp()).sigmoid()
    assert mass[8, 0].item() == pytest.approx((middle[0] - middle[1]).item(), rel=1e-4)
    sharp = log_mass(torch.tensor([0.0, 0.125]), torch.full((2,), 0.01), torch.full((2,), -7.0), 17)
    assert sharp[0] > -1e-3 > -10 > sharp[1]


def test_levels_are_drawn_as_often_as_their_mass_says():
    mean, scale = torch.tensor(0.3), torch.tensor(0.4)
    uniform = (torch.arange(20_000) + 0.5) / 20_000
    drawn = drawn_levels(mean.expand(20_000), scale.expand(20_000), uniform, 5)
    levels = torch.linspace(-1, 1, 5)
    shares = torch.stack([(drawn == level).float().mean() for level in levels])
    assert torch.allclose(shares, log_mass(levels, mean.expand(5), scale.log().expand(5), 5).exp(), atol=1e-3)


def test_bound_falls_short_of_the_likelihood():
    """With one latent number both are known by quadrature, and the mean of the bound's draws is what it must be."""
    network = spread(tiny_vae(latent=1), 0.05)
    images, label = grey(1, network), LABELS[:1]
    with torch.no_grad():
        mean, log_variance = (part[0, 0] for part in network.encode(images, label))
        nodes, step = torch.linspace(-10, 10, 801), 20 / 800
        means, log_scales = network.decode(nodes[:, None], label.expand(801))
        told = log_mass(images.expand_as(means), means, log_scales, 5).flatten(1).sum(1)
        joint = told + Normal(0.0, 1.0).log_prob(nodes)
        posterior = Normal(mean, (log_variance / 2).exp()).log_prob(nodes)
        likelihood = (joint.logsumexp(0) + math.log(step)).item()
        bound = (posterior.exp() * (joint - posterior)).sum().item() * step
        condition, generator = Condition.of(label.expand(400)), torch.Generator().manual_seed(0)
        draws = -network(images.expand(400, -1, -1, -1), condition, generator) * 16 * math.log(2)
    assert posterior.exp().sum().item() * step == pytest.approx(1, abs=1e-4)
    assert bound < likelihood
    assert draws.mean().item() == pytest.approx(bound, abs=5 * draws.std().item() / 400**0.5)


def test_gan_losses_at_their_optimum():
    undecided = torch.zeros(4, 2)
    assert critic_loss(undecided, undecided, "non-saturating").item() == pytest.approx(math.log(2))  # D = 1/2
    assert generator_loss(undecided, "non-saturating").item() == pytest.approx(math.log(2))
    assert critic_loss(undecided, undecided, "hinge").item() == 1
    assert critic_loss(undecided, undecided, "wasserstein").item() == 0
    # Real images are of kind A in 4 of 5 cases, drawn ones in 1 of 5. The best logit is the log of the ratio of both
    # (Goodfellow et al. 2014, Proposition 1), of hinge its sign; then hinge has 1 - the total variation of 0.6.
    real, drawn = torch.tensor([0, 0, 0, 0, 1]), torch.tensor([0, 1, 1, 1, 1])
    logits = torch.tensor([math.log(4), -math.log(4)], requires_grad=True)
    loss = critic_loss(logits[real, None], logits[drawn, None], "non-saturating")
    assert torch.autograd.grad(loss, logits)[0].abs().max() < 1e-6
    others = torch.cat((torch.tensor([[1.0, -1.0]]), 2 * torch.randn(50, 2)))
    losses = [critic_loss(each[real, None], each[drawn, None], "hinge").item() for each in others]
    assert losses[0] == pytest.approx(1 - 0.6)
    assert losses[0] == min(losses)


def test_gradient_penalty_of_a_linear_critic():
    weight = torch.randn(1, 4, 4)
    images = torch.randn(5, 1, 4, 4, requires_grad=True)
    logits = (images * weight).flatten(1).sum(1, keepdim=True).expand(5, 3)
    expected = (weight.norm() - 1) ** 2
    assert gradient_penalty(logits, images).item() == pytest.approx(expected.item(), rel=1e-5)
    real, drawn = torch.full((5, 3), 2.0), torch.full((5, 3), -1.0)
    assert critic_loss(real, drawn, "wasserstein").item() == -3


@pytest.mark.parametrize("loss", ["non-saturating", "hinge", "wasserstein"])
def test_gan_task_trains_both(loss):
    network = tiny_gan(loss=loss)
    task = GANTask(network, seed=0)
    before = [parameter.clone() for parameter in (*network.parameters(), *task.opponent.parameters())]
    data = ArrayData(grey(8, network), torch.arange(8) % 3)
    result = train(task, data, TrainingConfig(steps=3, batch_size=4, log_every=1), progress=False, device="cpu")
    assert {"loss", "opponent_loss", "judged"} <= result.history[-1].keys()
    after = (*network.parameters(), *task.opponent.parameters())
    moved = [not torch.equal(*pair) for pair in zip(before, after, strict=True)]
    # But for the critic's last bias, which changes no difference of judgements.
    assert moved[:-1] == [True] * (len(moved) - 1)
    assert training_flops(task, data, TrainingConfig(steps=3, batch_size=4)) > 0


def test_the_critic_begins_by_the_seed_alone():
    first, twin, other = (GANTask(tiny_gan(), seed).opponent.label.weight for seed in (0, 0, 1))
    assert torch.equal(first, twin)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("family", [VAEFamily(), FlowFamily()], ids=lambda family: family.key)
def test_bits_fall_in_training(family):
    network = TINY[family.key]()
    data = ArrayData(torch.full((8, 1, 4, 4), 0.5), torch.arange(8) % 3)
    pipe, images, labels = FamilyPipeline(network), data.images[:3], data.labels[:3]
    run = family.plan("digits", data).runs[family.key]
    config = TrainingConfig(steps=10, batch_size=8, learning_rate=1e-2)

    def bits():
        return pipe.bits_per_dimension(images, labels, torch.Generator().manual_seed(0)).mean()

    before = bits()
    train(family.task(network, run, {}), data, config, progress=False, device="cpu")
    assert bits() < before - 0.2


@pytest.mark.parametrize("name", TINY)
def test_an_image_depends_on_its_seed_and_class_only_and_survives_saving(name, tmp_path):
    pipe = FamilyPipeline(spread(TINY[name]()), class_names=("a", "b", "c"))
    settings = {"sampling": Sampling(temperature=0.9), "output_type": "pt"}
    images = pipe(LABELS, seeds=[7, 8, 9], **settings).images
    single = torch.cat([pipe(LABELS[i : i + 1], seeds=[7 + i], **settings).images for i in range(3)])
    assert torch.allclose(images, single, atol=1e-5)
    assert not torch.allclose(images, pipe(LABELS, seeds=[17, 18, 19], **settings).images, atol=1e-2)
    assert not torch.allclose(images, pipe(LABELS.flip(0), seeds=[7, 8, 9], **settings).images, atol=1e-2)
    pipe.save_pretrained(tmp_path / "saved")
    loaded = FamilyPipeline.from_pretrained(tmp_path / "saved")
    assert torch.equal(loaded(LABELS, seeds=[7, 8, 9], **settings).images, images)


@pytest.mark.parametrize("family", [VAEFamily(), FlowFamily(), GANFamily()], ids=lambda family: family.key)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_networks_fit_the_data_sets(family, shape):
    channels, height, width = shape
    image = ImageConfig(channels=channels, height=height, width=width, num_classes=3, levels=256)
    config = family.config(image)
    with torch.device("meta"):
        network = family.network_class(config)
    assert sum(p.numel() for p in network.parameters()) < 5e6
    assert config.shape == shape
