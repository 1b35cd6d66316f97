"""The codebook: nearest codes, moving averages by hand, restarts, and a gradient that passes straight through."""

import pytest
import torch

from lesionforge.generators.lesion.learned.networks.codebook import COMMITMENT, Codebook, nearest
from lesionforge.generators.lesion.learned.networks.vqgan import VQGAN


def two_codes(begun=True):
    book = Codebook(2, 1)
    book.codes.copy_(torch.tensor([[0.0], [10.0]]))
    book.total.copy_(torch.tensor([[0.0], [50.0]]))
    book.use.copy_(torch.tensor([4.0, 5.0]))
    book.begun.fill_(begun)
    return book


def cells(*values):
    return torch.tensor(values).view(1, 1, -1, 1, 1)


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_chunked_search_is_brute_force(block):
    torch.manual_seed(0)
    rows, codes = torch.randn(500, 8), torch.randn(300, 8)
    table = ((rows[:, None] - codes) ** 2).sum(-1)
    found = nearest(rows, codes, block)
    assert torch.equal(found, table.argmin(1))
    assert len(found.unique()) > 50


def test_search_among_the_paper_s_16384_codes_is_brute_force():
    torch.manual_seed(1)
    rows, codes = torch.randn(64, 8), torch.randn(16_384, 8)
    assert torch.equal(nearest(rows, codes), torch.cdist(rows, codes).argmin(1))


def test_of_equal_codes_the_first_is_taken():
    codes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert nearest(torch.tensor([[1.0, 0.0], [2.0, 0.0]]), codes).tolist() == [0, 0]


def test_moving_averages_by_hand():
    book = two_codes()
    book(cells(1.0, 2.0, 9.0), seed=0)
    use = [0.99 * 4 + 0.01 * 2, 0.99 * 5 + 0.01 * 1]
    total = [0.99 * 0 + 0.01 * 3, 0.99 * 50 + 0.01 * 9]
    torch.testing.assert_close(book.use, torch.tensor(use))
    torch.testing.assert_close(book.total[:, 0], torch.tensor(total))
    torch.testing.assert_close(book.codes[:, 0], torch.tensor([total[0] / use[0], total[1] / use[1]]))


def test_a_code_hardly_used_starts_again_at_a_cell():
    book = two_codes()
    book.use.copy_(torch.tensor([4.0, 1.005]))  # 0.995 after a step without a cell
    book(cells(1.0, 2.0, 3.0), seed=0)
    assert book.codes[1, 0].item() in (1.0, 2.0, 3.0)
    assert book.codes[0, 0].item() not in (1.0, 2.0, 3.0)


def test_codes_begin_at_cells_of_the_first_batch():
    book = Codebook(8, 2)
    batch = torch.randn(1, 2, 4, 2, 2)
    rows = batch.movedim(1, -1).flatten(0, -2)
    book(batch, seed=5)
    assert book.begun
    assert nearest(book.codes, rows).unique().numel() == 8
    few = Codebook(40, 2)  # more codes than cells: repeated, no two equal
    few(batch, seed=5)
    assert few.codes.unique(dim=0).shape == (40, 2)


def test_the_gradient_passes_as_if_nothing_were_quantised():
    book = two_codes()
    given = cells(1.0, 2.0, 9.0).requires_grad_()
    weight = torch.randn(given.shape)
    quantised, _, _ = book(given)
    assert quantised.flatten().tolist() == [0.0, 0.0, 10.0]
    (quantised * weight).sum().backward()
    assert torch.equal(given.grad, weight)
    again = cells(1.0, 2.0, 9.0).requires_grad_()
    book(again)[1].sum().backward()
    torch.testing.assert_close(again.grad.flatten(), COMMITMENT * 2 * torch.tensor([1.0, 2.0, -1.0]) / 3)


def test_commitment_by_hand():
    torch.testing.assert_close(two_codes()(cells(1.0, 2.0, 9.0))[1], torch.tensor([0.25 * (1 + 4 + 1) / 3]))


def test_without_a_seed_nothing_moves():
    book = two_codes()
    before = {name: b.clone() for name, b in book.named_buffers()}
    book(cells(1.0, 2.0, 9.0))
    assert all(torch.equal(b, before[name]) for name, b in book.named_buffers())


def test_the_same_seed_draws_the_same_codes():
    batch = torch.randn(1, 2, 4, 4, 4)
    made = []
    for seed in (1, 1, 2):
        book = Codebook(8, 2)
        book(batch, seed=seed)
        made.append(book.codes.clone())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_latents_scaled_and_back():
    torch.manual_seed(0)
    vqgan = VQGAN(hidden=4, levels=1, dim=3, n_codes=16, groups=2)
    latent = torch.randn(1, 3, 4, 4, 4)
    torch.testing.assert_close(vqgan.unscale(vqgan.scale(latent)), latent, atol=1e-6, rtol=0)
    scaled = vqgan.scale(vqgan.codebook.codes)
    assert (scaled.min().item(), scaled.max().item()) == (-1.0, 1.0)
