"""Linear layers by oneDNN's kernel: the library's numbers in both passes, and the library where the kernel is none."""

import copy
import inspect
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import var.linear
from var.linear import Linear, has_kernel, kernel_flops, linear

ROWS = {
    "one row": lambda: torch.randn(5),
    "rows": lambda: torch.randn(7, 5),
    "three axes": lambda: torch.randn(2, 3, 5),
    "columns in order": lambda: torch.randn(5, 7).mT,
    "axes swapped": lambda: torch.randn(3, 2, 5).transpose(0, 1),
    "every other row": lambda: torch.randn(7, 5)[::2],
    "a row repeated": lambda: torch.randn(1, 5).expand(7, 5),
    "none": lambda: torch.randn(0, 5),
    "none of three axes": lambda: torch.randn(2, 0, 5),
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry for each product of the kernel."""
    made: list[None] = []
    product = var.linear.product

    def counted(*arguments: object) -> Tensor:
        made.append(None)
        return product(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr("var.linear.product", counted)
    return made


def passes(layer, x: Tensor, weight: Tensor, bias: Tensor | None) -> list[Tensor]:
    """Output and gradients, of a loss that weighs the outputs differently."""
    leaves = [tensor.detach().requires_grad_() for tensor in (x, weight, bias) if tensor is not None]
    y = layer(*leaves)
    weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)
    return [y, *torch.autograd.grad(y, leaves, weights)]


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("rows", ROWS)
def test_both_passes_are_those_of_float64(rows: str, biased: bool) -> None:
    torch.manual_seed(0)
    x, weight, bias = ROWS[rows](), torch.randn(6, 5), torch.randn(6) if biased else None
    found = passes(linear, x, weight, bias)
    exact = passes(F.linear, x.double(), weight.double(), None if bias is None else bias.double())
    for mine, theirs in zip(found, exact, strict=True):
        assert mine.shape == theirs.shape
        torch.testing.assert_close(mine, theirs.float(), atol=2e-5, rtol=1e-5)


def test_the_kernel_does_it_forward_and_for_each_gradient_that_is_wanted(calls: list[None]) -> None:
    x, weight, bias = torch.randn(7, 5), torch.randn(6, 5), torch.randn(6)
    kernel = has_kernel(weight)
    for wanted, products in (((x, weight, bias), 3), ((x,), 2), ((weight,), 2), ((bias,), 1)):
        calls.clear()
        leaves = [each.detach().requires_grad_(any(each is one for one in wanted)) for each in (x, weight, bias)]
        linear(*leaves).sum().backward()
        assert len(calls) == products * kernel
        assert [leaf.grad is not None for leaf in leaves] == [leaf.requires_grad for leaf in leaves]
    calls.clear()
    with torch.no_grad():
        linear(x, weight, bias)
    assert len(calls) == kernel


def test_the_same_numbers_give_the_same_bits() -> None:
    x, weight = torch.randn(64, 48), torch.randn(96, 48)
    for mine, again in zip(passes(linear, x, weight, None), passes(linear, x, weight, None), strict=True):
        assert torch.equal(mine, again)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_the_librarys(calls: list[None], dtype: torch.dtype) -> None:
    x, weight = torch.randn(7, 5, dtype=dtype), torch.randn(6, 5, dtype=dtype)
    assert torch.equal(linear(x, weight), F.linear(x, weight))
    assert not calls


def test_autocast_has_its_own_type_and_another_device_no_kernel(calls: list[None]) -> None:
    layer = Linear(5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(7, 5)).dtype == torch.bfloat16
    assert Linear(5, 6, device="meta")(torch.randn(7, 5, device="meta")).shape == (7, 6)
    assert not calls


def test_tensors_of_other_libraries_are_left_to_them(calls: list[None]) -> None:
    class Told(Tensor):
        """A tensor that is more than its numbers, as quantised weights are."""

    weight = torch.randn(6, 5).as_subclass(Told)
    assert type(linear(torch.randn(7, 5), weight)) is Told
    assert not calls


def test_shapes_that_do_not_fit_are_told_by_the_library() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        inspect.unwrap(linear)(torch.randn(7, 4), torch.randn(6, 5))  # as users have it: no annotation is looked at


def test_a_layer_is_the_librarys_in_name_weights_and_copies() -> None:
    layer = Linear(5, 6)
    plain = nn.Linear(5, 6)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(7, 5)
    torch.testing.assert_close(layer(x), plain(x))
    assert repr(layer) == repr(plain)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(copied(x), layer(x))


def test_recomputing_in_the_backward_pass_changes_nothing() -> None:
    layer, x = Linear(5, 6), torch.randn(7, 5, requires_grad=True)
    plain = torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
    again = checkpoint(layer, x, use_reentrant=False)
    assert isinstance(again, Tensor)
    for mine, theirs in zip(torch.autograd.grad(again.square().sum(), [x, *layer.parameters()]), plain, strict=True):
        assert torch.equal(mine, theirs)


def test_its_operations_are_counted_as_those_of_the_library() -> None:
    counts = []
    for layer in (Linear(5, 6), nn.Linear(5, 6)):
        with FlopCounterMode(display=False, custom_mapping=kernel_flops()) as counter:
            layer(torch.randn(2, 7, 5, requires_grad=True)).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts == [6 * 14 * 5 * 6] * 2


def test_a_frozen_layer_keeps_no_input_for_the_backward_pass() -> None:
    layer, x = Linear(5, 6).requires_grad_(False), torch.randn(7, 5, requires_grad=True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each.data_ptr()) or each, lambda each: each):
        y = layer(x)
    assert x.data_ptr() not in kept
    y.sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(7, 5))


def test_gradients_have_gradients() -> None:
    """Of the input and of all weights, as a penalty of gradients needs them."""
    torch.manual_seed(0)
    ours = nn.Sequential(Linear(5, 6), nn.Tanh(), Linear(6, 1))
    plain = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1))
    plain.load_state_dict(ours.state_dict())
    found = []
    for network in (ours, plain):
        x = torch.linspace(-1, 1, 15).view(3, 5).requires_grad_()
        (gradient,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
        gradient.square().sum().backward()
        found.append([x.grad, *(weight.grad for weight in network.parameters())])
    for mine, theirs in zip(*found, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")  # torch's own, of its rules
def test_transforms_of_functions_are_the_librarys(calls: list[None]) -> None:
    layer = Linear(5, 6)
    x, step = torch.randn(2, 7, 5), torch.randn(2, 7, 5)
    _, along = torch.func.jvp(layer, (x,), (step,))
    torch.testing.assert_close(along, step @ layer.weight.T)
    torch.testing.assert_close(torch.func.vmap(layer)(x), x @ layer.weight.T + layer.bias)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, step)
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(layer(dual)).tangent, along)
    assert not calls


@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN:UserWarning")  # of the switch
def test_a_compiler_sees_the_library_and_the_switch_of_torch_is_heeded(calls: list[None]) -> None:
    x, weight = torch.randn(7, 5), torch.randn(6, 5)
    compiled = torch.compile(inspect.unwrap(linear), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, weight), x @ weight.T)
    with torch.backends.mkldnn.flags(enabled=False):
        linear(x, weight)
    assert not calls
