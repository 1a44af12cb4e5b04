"""The layer against its own equation, its degenerate case, and its gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regimeslot.errors import InvalidInputError
from regimeslot.models.slot_weight import SlotWeight


def layer(n_slots=3, d=4, p=2, seed=0):
    torch.manual_seed(seed)
    return SlotWeight(n_slots, d, p).double()


def test_forward_is_the_mixed_weight_row_by_row():
    model = layer()
    x = torch.randn(5, 4, dtype=torch.float64)
    pi = torch.softmax(x @ model.selector[0].weight.T + model.selector[0].bias, -1)
    for row in range(5):
        weight = (pi[row] @ model.weight).view(4, 2)
        expected = x[row] @ weight + pi[row] @ model.bias
        torch.testing.assert_close(model(x)[row], expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.lists(st.integers(1, 3), max_size=3),
    n_slots=st.integers(1, 4),
    d=st.integers(1, 4),
    p=st.integers(1, 3),
)
def test_any_leading_shape(shape, n_slots, d, p):
    model = layer(n_slots, d, p)
    x = torch.randn(*shape, d, dtype=torch.float64)
    y, pi = model(x), model.selector_weights(x)
    assert y.shape == (*shape, p)
    assert pi.shape == (*shape, n_slots)
    torch.testing.assert_close(pi.sum(-1), torch.ones(shape).double(), rtol=1e-12, atol=0)
    flat = model(x.reshape(-1, d)).reshape(*shape, p)
    torch.testing.assert_close(y, flat, rtol=1e-12, atol=1e-13)


def test_one_slot_is_a_linear_layer():
    model = layer(1)
    linear = torch.nn.Linear(4, 2).double()
    with torch.no_grad():
        linear.weight.copy_(model.weight.view(4, 2).T)
        linear.bias.copy_(model.bias[0])
    x = torch.randn(6, 4, dtype=torch.float64)
    torch.testing.assert_close(model(x), linear(x), rtol=1e-13, atol=1e-14)


def test_gradients_are_exact():
    model = layer()
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, x)
    names = [name for name, _ in model.named_parameters()]

    def by_parameters(*values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), x.detach())

    values = [value.detach().requires_grad_() for value in model.parameters()]
    assert torch.autograd.gradcheck(by_parameters, values)


def test_names_and_shapes_of_the_state():
    shapes = {name: tuple(value.shape) for name, value in layer().state_dict().items()}
    assert shapes == {
        "weight": (3, 8),
        "bias": (3, 2),
        "selector.0.weight": (3, 4),
        "selector.0.bias": (3,),
    }


@pytest.mark.parametrize("sizes", [(0, 1, 1), (2, -1, 1), (2, 1, 1.5), (True, 1, 1)])
def test_bad_sizes(sizes):
    with pytest.raises(InvalidInputError, match="positive integer"):
        SlotWeight(*sizes)


def test_bad_input_says_what_came():
    with pytest.raises(InvalidInputError, match=r"length 4, got shape \(2, 3\)"):
        layer()(torch.zeros(2, 3).double())


@pytest.mark.slow
def test_plain_training_reaches_the_published_loss():
    """RMSprop at torch's defaults, 100 epochs of batches of 64: 2.7e-5 was published."""
    from regimeslot.synthetic import make_two_regimes

    sample = make_two_regimes(11_000, random_state=5)
    X = torch.tensor(sample.X, dtype=torch.float32)
    y = torch.tensor(sample.y, dtype=torch.float32)[:, None]
    torch.manual_seed(0)
    model = SlotWeight(2, 2, 1)
    optimiser = torch.optim.RMSprop(model.parameters())
    rows = torch.utils.data.TensorDataset(X[:10_000], y[:10_000])
    for _ in range(100):
        for inputs, targets in torch.utils.data.DataLoader(rows, batch_size=64, shuffle=True):
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(model(inputs), targets).backward()
            optimiser.step()
    with torch.no_grad():
        loss = float(torch.nn.functional.mse_loss(model(X[10_000:]), y[10_000:]))
    direction = (model.selector[0].weight[0] - model.selector[0].weight[1]).detach().numpy()
    assert loss < 1e-3
    assert abs(direction @ [1, 1]) < 0.1 * np.linalg.norm(direction)
    assert np.linalg.norm(direction) > 5
