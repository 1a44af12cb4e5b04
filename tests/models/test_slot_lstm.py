"""The slot-memory LSTM against torch.nn.LSTM, its own plain loop, and what it promises exactly."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from regimeslot.errors import InvalidInputError, RegimeWarning
from regimeslot.models.slot_lstm import SlotLSTM, SlotLSTMCell
from regimeslot.models.slot_lstm_function import (
    LayerInput,
    slot_layer,
    slot_layer_by_autograd,
    sparsemax,
)

VARIANTS = [
    {},
    {"masked": True},
    {"sparse": True},
    {"stay": 0.6},
    {"masked": True, "sparse": True, "stay": 0.6},
]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def layer_input(T=4, D=3, B=2, S=3, H=3, masked=False, sparse=False, stay=0.0):
    rows = 4 * H + 2 * S
    shapes = [(T, D, B), (rows, D), (rows, H), (rows,), (S, H), (H, B), (S, H, B), (S, B)]
    values = [0.7 * torch.randn(shape, dtype=torch.float64) for shape in shapes]
    mask = torch.rand(T, 1, B) > 0.3 if masked else None
    return LayerInput(*(v.requires_grad_() for v in values), mask, sparse, stay)


def results(function, like):
    def run(*tensors):
        found = function(LayerInput(*tensors, like.mask, like.sparse, like.stay))
        return found.h, found.C, found.w

    return run


def gradients(loss, tensors):
    return torch.autograd.grad(loss, tensors, allow_unused=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_written_out_pass_is_the_plain_loop(variant):
    layer = layer_input(**variant)
    found, expected = slot_layer(layer), slot_layer_by_autograd(layer)
    for name in ("h", "C", "w", "attention"):
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), rtol=1e-12, atol=1e-14
        )
    by = [
        gradients(o.h.pow(2).sum() + o.C.sin().sum() + o.w.pow(2).sum(), layer.tensors)
        for o in (found, expected)
    ]
    for mine, theirs in zip(*by, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradcheck(variant):
    layer = layer_input(T=3, D=2, H=2, **variant)
    assert torch.autograd.gradcheck(results(slot_layer, layer), layer.tensors)


@pytest.mark.parametrize("variant", [{}, {"masked": True, "stay": 0.5}])
def test_second_derivatives(variant):
    layer = layer_input(T=2, D=1, S=2, H=2, **variant)
    assert torch.autograd.gradgradcheck(results(slot_layer, layer), layer.tensors)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_one_slot_is_the_ordinary_lstm(num_layers, batch_first, bias, dtype, tolerance):
    sizes = (3, 5, num_layers, bias, batch_first)
    ordinary = nn.LSTM(*sizes, dtype=dtype)
    slots = SlotLSTM(*sizes, dtype=dtype, n_slots=1)
    slots.load_state_dict(ordinary.state_dict())
    x = torch.randn(4, 7, 3, dtype=dtype)
    batch = 4 if batch_first else 7
    h, c = torch.randn(2, num_layers, batch, 5, dtype=dtype)

    found = []
    for model, memory in ((ordinary, c), (slots, c.unsqueeze(2))):
        inputs = x.clone().requires_grad_(), h.clone().requires_grad_(), memory.clone()
        output, (h_n, c_n) = model(inputs[0], (inputs[1], inputs[2].requires_grad_()))
        loss = output.sin().sum() + h_n.pow(2).sum() + c_n.pow(3).sum()
        grads = dict(zip("xhc", gradients(loss, inputs), strict=True))
        loss = model(x)[0].pow(2).sum()
        grads |= dict(
            zip(dict(model.named_parameters()), gradients(loss, [*model.parameters()]), strict=True)
        )
        grads["c"] = grads["c"].view(c.shape)
        found.append((output, h_n, c_n.view(c.shape), grads))
    for mine, theirs in zip(found[1][:3], found[0][:3], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)
    for name, theirs in found[0][3].items():
        mine = found[1][3][name]
        scale = float(theirs.abs().max())
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance * max(scale, 1))


def one_slot_only(model, slot, read=None):
    """Attention that sits on one slot, to the last bit."""
    with torch.no_grad():
        for part, chosen in (("read", read), ("write", slot)):
            if chosen is not None:
                model.get_parameter(f"weight_{part}_l0").zero_()
                model.get_parameter(f"bias_{part}_l0").fill_(-1000.0)[chosen] = 1000.0


def test_one_hot_write_leaves_other_slots_bit_exact():
    model = SlotLSTM(3, 8, n_slots=4)
    one_slot_only(model, 2)
    C = torch.randn(1, 2, 4, 8)
    with torch.no_grad():
        _, (_, after) = model(torch.randn(10_000, 2, 3), (torch.zeros(1, 2, 8), C))
    others = [0, 1, 3]
    assert torch.equal(after[:, :, others], C[:, :, others])
    assert not torch.equal(after[:, :, 2], C[:, :, 2])


def test_one_hot_read_and_write_is_an_lstm_on_that_slot():
    model = SlotLSTM(3, 5, n_slots=3, dtype=torch.float64)
    one_slot_only(model, 1, read=1)
    ordinary = nn.LSTM(3, 5, dtype=torch.float64)
    state = {name: model.state_dict()[name].clone() for name in ordinary.state_dict()}
    state["bias_ih_l0"][5:10] += model.forget_offset_l0[1].detach()
    ordinary.load_state_dict(state)
    x = torch.randn(20, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(model(x)[0], ordinary(x)[0], rtol=1e-12, atol=1e-14)


def test_fixed_point_does_not_depend_on_the_write():
    model = SlotLSTM(2, 3, n_slots=2, dtype=torch.float64)
    with torch.no_grad():
        model.weight_hh_l0.zero_()
        model.forget_offset_l0.zero_()
        model.weight_write_l0.zero_()
        x = torch.ones(3000, 1, 2, dtype=torch.float64)
        model.bias_write_l0.copy_(torch.tensor([2.0, -1.0]))
        _, (_, C) = model(x)
    torch.testing.assert_close(C[0, 0, 0], C[0, 0, 1], rtol=1e-10, atol=1e-12)


def test_sparsemax_leaves_unused_slots_without_any_gradient():
    model = SlotLSTM(3, 4, n_slots=3, attention="sparsemax")
    with torch.no_grad():
        for part in ("read", "write"):
            model.get_parameter(f"bias_{part}_l0")[1] = -50.0
    C = torch.randn(1, 2, 3, 4)
    output, (_, after) = model(torch.randn(30, 2, 3), (torch.zeros(1, 2, 4), C))
    output.pow(2).sum().backward()
    assert torch.equal(after[:, :, 1], C[:, :, 1])
    for name in ("weight_write_l0", "bias_write_l0", "weight_read_l0", "forget_offset_l0"):
        grad = model.get_parameter(name).grad
        assert not grad[1].any(), name
        assert grad[0].any(), name


def test_sparsemax_is_the_projection_onto_the_simplex():
    logits = torch.tensor([1.2, 0.9, -0.4], dtype=torch.float64)
    torch.testing.assert_close(
        sparsemax(logits, 0),
        torch.tensor([0.65, 0.35, 0.0], dtype=torch.float64),
        rtol=1e-12,
        atol=1e-14,
    )
    p = sparsemax(3 * torch.randn(50, 5, dtype=torch.float64), 1)
    torch.testing.assert_close(p.sum(1), torch.ones(50).double(), rtol=1e-12, atol=1e-12)
    assert (p >= 0).all()


def test_sticky_write_follows_its_equation():
    model = SlotLSTM(3, 4, n_slots=3, write_stay=0.8, dtype=torch.float64)
    fresh = copy.deepcopy(model)
    fresh.write_stay = 0.0
    with torch.no_grad():
        for each in (model, fresh):  # attention by x alone, so that both see the same
            each.weight_write_l0[:, 3:] = 0
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    sticky, raw = model.attention_weights(x).write[0], fresh.attention_weights(x).write[0]
    w = torch.zeros_like(raw[0])
    for t in range(6):
        w = 0.8 * w + 0.2 * raw[t]
        torch.testing.assert_close(sticky[t], w, rtol=1e-12, atol=1e-14)
    _, state = model(x)
    torch.testing.assert_close(state[2][0], w, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("stay", [0.0, 0.7])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_sequence_in_two_parts_is_the_whole(stay, num_layers):
    model = SlotLSTM(3, 4, num_layers, batch_first=True, write_stay=stay, dtype=torch.float64)
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    whole, last = model(x)
    first, state = model(x[:, :4])
    second, end = model(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-12, atol=1e-14)
    for mine, theirs in zip(end, last, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_padding_changes_nothing(num_layers):
    model = SlotLSTM(3, 4, num_layers, dtype=torch.float64)
    parts = [torch.randn(n, 3, dtype=torch.float64) for n in (3, 6, 1)]
    hx = torch.randn(num_layers, 3, 4).double(), torch.randn(num_layers, 3, 4, 4).double()
    singles = [model(part, (hx[0][:, row], hx[1][:, row])) for row, part in enumerate(parts)]
    padded = torch.full((6, 3, 3), torch.nan, dtype=torch.float64)
    for row, part in enumerate(parts):
        padded[: len(part), row] = part
    lengths = torch.tensor([3, 6, 1])
    packed = pack_sequence(parts, enforce_sorted=False)
    runs = {
        "lengths": model(padded, hx, lengths=lengths),
        "mask": model(padded, hx, mask=torch.arange(6)[:, None] < lengths),
    }
    output, state = model(packed, hx)
    runs["packed"] = pad_packed_sequence(output)[0], state
    for name, (output, state) in runs.items():
        for row, (single, (h, C)) in enumerate(singles):
            n = len(single)
            for mine, theirs in (
                (output[:n, row], single),
                (output[n:, row], torch.zeros(6 - n, 4).double()),
                (state[0][:, row], h),
                (state[1][:, row], C),
            ):
                torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14, msg=name)


def test_packed_data_like_nn_lstm():
    ordinary, model = nn.LSTM(3, 4), SlotLSTM(3, 4, n_slots=1)
    model.load_state_dict(ordinary.state_dict())
    packed = pack_sequence([torch.randn(n, 3) for n in (2, 5, 4)], enforce_sorted=False)
    theirs, (h, _) = ordinary(packed)
    mine, (h_slot, _) = model(packed)
    torch.testing.assert_close(mine.data, theirs.data, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(h_slot, h, rtol=1e-5, atol=1e-6)
    assert torch.equal(mine.unsorted_indices, theirs.unsorted_indices)


def test_no_step_sees_a_later_one():
    model = SlotLSTM(3, 4, 2)
    x = torch.randn(8, 2, 3)
    changed = x.clone()
    changed[5:] = 9.0
    assert torch.equal(model(x)[0][:5], model(changed)[0][:5])


@pytest.mark.parametrize("stay", [0.0, 0.5])
def test_the_cell_is_one_step(stay):
    model = SlotLSTM(3, 4, n_slots=2, write_stay=stay, dtype=torch.float64)
    cell = SlotLSTMCell(3, 4, n_slots=2, write_stay=stay, dtype=torch.float64)
    cell.load_state_dict(
        {name.removesuffix("_l0"): value for name, value in model.state_dict().items()}
    )
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    state = None
    for step in x:
        state = cell(step, state)
    for mine, theirs in zip(state, model(x)[1], strict=True):
        torch.testing.assert_close(mine, theirs[0], rtol=1e-12, atol=1e-14)
    single = cell(x[0, 0])
    torch.testing.assert_close(single[1], cell(x[0])[1][0], rtol=1e-12, atol=1e-14)


def test_inference_keeps_no_history_and_gives_the_same():
    model = SlotLSTM(3, 4)
    x = torch.randn(9, 2, 3)
    output, (_, C) = model(x)
    with torch.no_grad():
        again, (_, C_again) = model(x)
    assert torch.equal(output, again)
    assert torch.equal(C, C_again)


def test_attention_rows_sum_to_one_and_follow_the_layout():
    model = SlotLSTM(3, 4, 2, batch_first=True, n_slots=5)
    seen = model.attention_weights(torch.randn(2, 7, 3), lengths=torch.tensor([7, 4]))
    assert seen.read.shape == seen.write.shape == (2, 2, 7, 5)
    for part in seen:
        torch.testing.assert_close(part[:, 0].sum(-1), torch.ones(2, 7), rtol=1e-5, atol=1e-6)
        assert not part[:, 1, 4:].any()
    assert model.attention_weights(torch.randn(7, 3)).read.shape == (2, 7, 5)


def test_offsets_start_at_geometric_time_scales():
    model = SlotLSTM(2, 3, n_slots=3, memory_span=32.0)
    tau = 1 + model.forget_offset_l0[:, 0].exp()
    torch.testing.assert_close(tau, torch.tensor([2.0, 8.0, 32.0]), rtol=1e-5, atol=1e-5)


def test_dropout_acts_between_layers_in_training_alone():
    model = SlotLSTM(3, 4, 2, dropout=0.5)
    x = torch.randn(5, 2, 3)
    assert not torch.equal(model(x)[0], model(x)[0])
    model.eval()
    assert torch.equal(model(x)[0], model(x)[0])
    with pytest.warns(RegimeWarning, match="between layers"):
        SlotLSTM(3, 4, 1, dropout=0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_slots": 0}, "n_slots to be a positive integer, got 0"),
        ({"hidden_size": 2.5}, "hidden_size to be a positive integer, got 2.5"),
        ({"num_layers": 0}, "num_layers"),
        ({"attention": "hard"}, "'hard'"),
        ({"write_stay": 1.0}, r"write_stay in \[0, 1\), got 1.0"),
        ({"memory_span": 1.0}, "memory_span"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        SlotLSTM(**{"input_size": 3, "hidden_size": 4, **arguments})


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (torch.zeros(5, 2, 4), {}, r"\(T, B, 3\) .* got \(5, 2, 4\)"),
        (torch.zeros(0, 2, 3), {}, r"at least one step .* got \(0, 2, 3\)"),
        (torch.zeros(5, 0, 3), {}, r"got \(5, 0, 3\)"),
        (torch.zeros(3), {}, r"got \(3,\)"),
        (torch.zeros(5, 2, 3).double(), {}, "torch.float64"),
        (torch.full((5, 2, 3), torch.nan), {}, "30 NaN or infinite values among 30"),
        (torch.zeros(5, 2, 3), {"lengths": torch.tensor([5, 0])}, "from 1 to the 5 steps"),
        (torch.zeros(5, 2, 3), {"lengths": torch.tensor([5])}, r"2 integer lengths, .* \(1,\)"),
        (torch.zeros(5, 2, 3), {"mask": torch.ones(2, 5).bool()}, r"5 steps of 2 .* \(2, 5\)"),
        (torch.zeros(5, 2, 3), {"hx": (torch.zeros(1, 2, 4),)}, "got 1 tensors"),
        (
            torch.zeros(5, 2, 3),
            {"hx": (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))},
            r"C \(1, 2, 4, 4\), got C of shape \(1, 2, 4\)",
        ),
    ],
)
def test_wrong_inputs_name_sizes(x, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        SlotLSTM(3, 4)(x, **arguments)


def test_batch_of_one_is_the_row_of_a_batch():
    model = SlotLSTM(3, 4, batch_first=True)
    x = torch.randn(3, 6, 3)
    torch.testing.assert_close(model(x[:1])[0], model(x)[0][:1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model(x[0])[0], model(x)[0][0], rtol=1e-5, atol=1e-6)
