"""SlotLSTM with weights of each slot's own: what is exact, and that nothing else moves."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from regimeslot.errors import InvalidInputError
from regimeslot.models.slot_lstm import SlotLSTM
from regimeslot.models.slot_scan import SlotScan


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def regime(level, T=20, B=16, D=2, dtype=torch.float32):
    return level + torch.randn(T, B, D, dtype=dtype)


def trained(levels=(0.0, 8.0), dtype=torch.float64, **options):
    """A model whose gate knows these regimes; weights as drawn."""
    model = SlotLSTM(2, 7, n_slots=3, slot_weights=True, dtype=dtype, **options)
    for level in levels:
        for _ in range(5):
            x = regime(level, dtype=dtype)
            model(x.transpose(0, 1) if model.batch_first else x)
    return model.eval()


def test_one_slot_is_the_ordinary_lstm():
    ordinary = nn.LSTM(3, 5, 2, dtype=torch.float64)
    model = SlotLSTM(3, 5, 2, n_slots=1, slot_weights=True, dtype=torch.float64)
    model.load_state_dict(ordinary.state_dict())
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(model(x)[0], ordinary(x)[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_slot_in_use_is_an_lstm_and_the_others_are_silent(num_layers):
    model = trained(num_layers=num_layers)
    assert model.blocks.sizes == [3, 2, 2]
    x = regime(8.0, dtype=torch.float64)
    output, (h, C, p, _) = model(x)
    expected, (h_own, C_own) = model.blocks.slots[1](x)
    torch.testing.assert_close(output[:, :, 3:5], expected, rtol=1e-12, atol=1e-14)
    assert not output[:, :, :3].any()
    assert not output[:, :, 5:].any()
    torch.testing.assert_close(h[..., 3:5], h_own, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(C[..., 3:5], C_own, rtol=1e-12, atol=1e-14)
    assert torch.equal(p[0, :, 1], torch.ones(16).double())


@pytest.mark.parametrize(
    "optimiser",
    [
        lambda p: torch.optim.Adam(p, 1e-2),
        lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.RMSprop(p, 1e-2, momentum=0.9),
    ],
)
def test_other_slots_are_bit_exact_through_an_optimiser_with_momentum(optimiser):
    model = SlotLSTM(2, 6, n_slots=3, slot_weights=True)
    head = nn.Linear(6, 1)
    steps = optimiser([*model.parameters(), *head.parameters()])

    def train(level):
        for _ in range(25):
            x = regime(level)
            loss = (head(model(x)[0]) - x.sum(2, keepdim=True)).square().mean()
            steps.zero_grad()
            loss.backward()
            steps.step()

    def snapshot(slot):
        block = model.blocks.slots[slot]
        state = [steps.state[p] for p in block.parameters()]
        return copy.deepcopy((list(block.state_dict().values()), state))

    def equal(one, other):
        pairs = list(zip(one[0], other[0], strict=True))
        for a, b in zip(one[1], other[1], strict=True):
            if a.keys() != b.keys():
                return False
            pairs += [(a[name], b[name]) for name in a]
        return all(a is b or torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs)

    train(0.0)
    first, second = snapshot(0), snapshot(1)
    train(8.0)
    assert equal(first, snapshot(0))
    assert not equal(second, snapshot(1))
    second = snapshot(1)
    train(0.0)
    assert equal(second, snapshot(1))
    assert not equal(first, snapshot(0))


def test_columns_of_a_head_belong_to_slots():
    model = trained()
    head = nn.Linear(7, 1, dtype=torch.float64)
    model.train()
    head(model(regime(8.0, dtype=torch.float64))[0]).sum().backward()
    assert not head.weight.grad[:, [0, 1, 2, 5, 6]].any()
    assert head.weight.grad[:, 3:5].all()
    assert all(p.grad is None for p in model.blocks.slots[0].parameters())


def test_gradients_are_exact():
    model = SlotLSTM(2, 4, n_slots=2, slot_weights=True, dtype=torch.float64)
    for level in (0.0, 3.0):
        for _ in range(6):
            model(regime(level, dtype=torch.float64))
    model.eval()
    # between the regimes at first: both slots have a say
    x = torch.cat([regime(1.5, 2, 2, dtype=torch.float64), regime(0, 2, 2, dtype=torch.float64)])
    assert ((model.attention_weights(x).read > 0).sum(-1) == 2).any()
    names = [name for name, _ in model.named_parameters()]

    def run(*values):
        output, (h, C, _, _) = torch.func.functional_call(
            model, dict(zip(names, values, strict=True)), x
        )
        return output, h, C

    assert torch.autograd.gradcheck(run, tuple(model.parameters()))


def test_no_step_sees_a_later_one_outside_training():
    model = trained()
    x = torch.cat([regime(0.0, 6), regime(8.0, 6)]).double()
    changed = x.clone()
    changed[5:] = 4.0
    found, expected = model(changed), model(x)
    assert torch.equal(found[0][:5], expected[0][:5])
    read = model.attention_weights(x).read[0]
    assert read[1:6, :, 0].mean() > 0.9
    assert read[7:, :, 1].mean() > 0.9


@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_sequence_in_two_parts_is_the_whole(num_layers):
    model = trained(num_layers=num_layers, batch_first=True)
    x = torch.cat([regime(0.0, 5, 2), regime(8.0, 6, 2)]).double().transpose(0, 1)
    whole, last = model(x)
    first, state = model(x[:, :7])
    second, end = model(x[:, 7:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-9, atol=1e-12)
    for mine, theirs in zip(end, last, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_padding_changes_nothing():
    model = trained()
    parts = [regime(level, n, 1).double()[:, 0] for level, n in ((0.0, 3), (8.0, 6), (0.0, 1))]
    singles = [model(part) for part in parts]
    padded = torch.full((6, 3, 2), torch.nan, dtype=torch.float64)
    for row, part in enumerate(parts):
        padded[: len(part), row] = part
    lengths = torch.tensor([3, 6, 1])
    packed, packed_state = model(pack_sequence(parts, enforce_sorted=False))
    runs = {
        "lengths": model(padded, lengths=lengths),
        "mask": model(padded, mask=torch.arange(6)[:, None] < lengths),
        "packed": (pad_packed_sequence(packed)[0], packed_state),
    }
    for name, (output, state) in runs.items():
        for row, (single, after) in enumerate(singles):
            n = len(single)
            torch.testing.assert_close(output[:n, row], single, rtol=1e-9, atol=1e-12, msg=name)
            assert not output[n:, row].any()
            for mine, theirs in zip(state, after, strict=True):
                torch.testing.assert_close(mine[:, row], theirs, rtol=1e-9, atol=1e-12, msg=name)


def test_holes_in_a_mask_are_no_steps():
    model = trained()
    x = regime(8.0, 8, 2).double()
    mask = torch.ones(8, 2, dtype=torch.bool)
    mask[2, 0] = mask[5, 0] = False
    mask[:, 1] = False
    output, state = model(x, mask=mask)
    single, after = model(x[mask[:, 0], 0])
    torch.testing.assert_close(output[mask[:, 0], 0], single, rtol=1e-9, atol=1e-12)
    assert not output[~mask].any()
    for part, expected in zip(state[:2], after[:2], strict=True):
        torch.testing.assert_close(part[:, 0], expected, rtol=1e-9, atol=1e-12)
        assert not part[:, 1].any()  # no step: the state is as it was


def test_rows_of_a_batch_do_not_see_each_other_outside_training():
    model = trained()
    x = torch.cat([regime(0.0, B=2), regime(8.0, B=2)], 1).double()
    torch.testing.assert_close(model(x)[0][:, 2:], model(x[:, 2:])[0], rtol=1e-9, atol=1e-12)


def test_only_training_with_gradients_is_counted():
    model = trained()
    before = copy.deepcopy(model.state_dict())
    model(regime(30.0, dtype=torch.float64))
    model.train()
    with torch.no_grad():
        model(regime(30.0, dtype=torch.float64))
    model.attention_weights(regime(30.0, dtype=torch.float64))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model(regime(30.0, dtype=torch.float64))
    assert model.blocks.gate.n_used == 3


def test_state_dict_carries_the_gate():
    model = trained()
    other = SlotLSTM(2, 7, n_slots=3, slot_weights=True, dtype=torch.float64).eval()
    other.load_state_dict(model.state_dict())
    x = regime(8.0, dtype=torch.float64)
    assert torch.equal(model(x)[0], other(x)[0])
    model.reset_parameters()
    assert model.blocks.gate.n_used == 0


def test_untrained_everything_is_the_first_slot():
    model = SlotLSTM(2, 6, n_slots=3, slot_weights=True).eval()
    output, _ = model(regime(5.0))
    assert output[..., :2].all()
    assert not output[..., 2:].any()
    assert "slot_weights=True" in repr(model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_size": 2}, "unit for each of 4 slots, got hidden_size 2"),
        ({"write_stay": 0.5}, "write_stay 0 with slot_weights, .* got 0.5"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        SlotLSTM(**{"input_size": 3, "hidden_size": 8, "slot_weights": True, **arguments})
    with pytest.raises(InvalidInputError, match="leave slot_weights out"):
        SlotScan(3, 8, slot_weights=True)


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (torch.zeros(0, 2, 3), {}, r"at least one step .* got \(0, 2, 3\)"),
        (torch.zeros(5, 2, 4), {}, r"\(T, B, 3\) .* got \(5, 2, 4\)"),
        (torch.zeros(5, 2, 3).double(), {}, "torch.float64"),
        (torch.full((5, 2, 3), torch.nan), {}, "30 NaN or infinite values among 30"),
        (torch.zeros(5, 2, 3), {"hx": (torch.zeros(1, 2, 8),)}, r"h \(1, 2, 8\), C \(1, 2, 8\)"),
    ],
)
def test_wrong_inputs_name_sizes(x, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        SlotLSTM(3, 8, slot_weights=True)(x, **arguments)


@pytest.mark.slow
def test_the_first_regime_is_kept_in_an_ordinary_training_loop():
    """Opposite laws told apart by one input: forgetting against nn.LSTM of as many parameters."""

    def sample(sign, source, batch=64):
        value = torch.randn(16, batch, generator=source)
        cue = torch.full_like(value, float(sign))
        later = torch.cat([torch.zeros(2, batch), value[:-2]])
        return torch.stack([value, cue], 2), sign * later

    forgets = []
    for layer in (nn.LSTM(2, 20), SlotLSTM(2, 27, n_slots=2, slot_weights=True)):
        head = nn.Linear(layer.hidden_size, 1)
        steps = torch.optim.Adam([*layer.parameters(), *head.parameters()], 1e-2)
        source, errors = torch.Generator().manual_seed(0), []
        for sign in (1, -1):
            layer.train()
            for _ in range(150):
                x, y = sample(sign, source)
                loss = (head(layer(x)[0]).squeeze(2) - y).square().mean()
                steps.zero_grad()
                loss.backward()
                steps.step()
            layer.eval()
            with torch.no_grad():
                for asked in (1, -1)[: len(errors) + 1]:
                    x, y = sample(asked, torch.Generator().manual_seed(9))
                    errors.append(float((head(layer(x)[0]).squeeze(2) - y).square().mean()))
        forgets.append(errors[1] - errors[0])
        assert errors[0] < 0.1
        assert errors[2] < 0.1
    assert forgets[0] > 1
    assert forgets[1] < 0.05 * forgets[0]
