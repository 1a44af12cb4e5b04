"""The scan against its recursion, and SlotScan against SlotLSTM without weights on h."""

import pytest
import torch

from regimeslot.errors import InvalidInputError
from regimeslot.models.slot_lstm import SlotLSTM
from regimeslot.models.slot_scan import SlotScan, linear_scan


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 7, 8])
def test_scan_is_the_recursion(parallel, steps):
    a, b = torch.rand(2, steps, 3, dtype=torch.float64)
    c = start = torch.randn(3, dtype=torch.float64)
    expected = []
    for a_t, b_t in zip(a, b, strict=True):
        c = a_t * c + b_t
        expected.append(c)
    found = linear_scan(a, b, start, parallel=parallel)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("parallel", [True, False])
def test_scan_gradients(parallel):
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((5, 2), (5, 2), 2)]

    def run(*tensors):
        return linear_scan(*tensors, parallel=parallel)

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def twins(**arguments):
    """A SlotScan, and the SlotLSTM that has its weights and none on h."""
    scan = SlotScan(3, 4, 2, dtype=torch.float64, **arguments)
    recurrent = SlotLSTM(3, 4, 2, dtype=torch.float64, **arguments)
    with torch.no_grad():
        for name, parameter in recurrent.named_parameters():
            parameter.zero_()
            if name in scan.state_dict():
                value = scan.state_dict()[name]
                parameter[tuple(slice(size) for size in value.shape)] = value
    return scan, recurrent


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"n_slots": 1},
        {"bias": False},
        {"attention": "sparsemax", "n_slots": 3},
        {"write_stay": 0.7},
    ],
)
@pytest.mark.parametrize("masked", [True, False])
def test_slot_scan_is_slot_lstm_without_weights_on_h(arguments, masked):
    models = twins(**arguments)
    x = torch.randn(9, 3, 3, dtype=torch.float64)
    mask = torch.rand(9, 3) > 0.4 if masked else None
    shapes = models[0].state_shapes(2, 3).values()
    hx = tuple(torch.rand(shape, dtype=torch.float64) for shape in shapes)
    runs = []
    for model in models:
        output, state = model(x, hx, mask=mask)
        loss = output.sin().sum() + sum(part.pow(2).sum() for part in state)
        loss.backward()
        seen = model.attention_weights(x, hx, mask=mask)
        runs.append((output, *state, *seen))
    for mine, theirs in zip(*runs, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-13)
    theirs = dict(models[1].named_parameters())
    for name, parameter in models[0].named_parameters():
        shown = theirs[name].grad[tuple(slice(size) for size in parameter.shape)]
        torch.testing.assert_close(parameter.grad, shown, rtol=1e-10, atol=1e-12, msg=name)


def test_an_unwritten_slot_stays_bit_exact():
    model = SlotScan(3, 8, n_slots=3)
    with torch.no_grad():
        model.weight_write_l0.zero_()
        model.bias_write_l0.copy_(torch.tensor([1000.0, -1000.0, -1000.0]))
        C = torch.randn(1, 2, 3, 8)
        _, (_, after) = model(torch.randn(10_000, 2, 3), (torch.zeros(1, 2, 8), C))
    assert torch.equal(after[:, :, 1:], C[:, :, 1:])


def test_wrong_sizes():
    with pytest.raises(InvalidInputError, match=r"got \(5, 2, 4\)"):
        SlotScan(3, 4)(torch.zeros(5, 2, 4))
