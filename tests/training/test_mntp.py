"""Masked next token prediction, against the formula written out."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from methods.backbone.tiny import make_byte_tokenizer
from methods.training.mntp import (
    IGNORED,
    MaskCollator,
    MaskedModel,
    ShuffledBlocks,
    cut_blocks,
    find_mask_token,
    mntp_loss,
)
from methods.training.recipe import Masking


def test_the_state_before_a_masked_token_predicts_it():
    draw = torch.Generator().manual_seed(3)
    hidden = torch.randn(2, 6, 8, generator=draw, requires_grad=True)
    head = torch.randn(11, 8, generator=draw)
    labels = torch.full((2, 6), IGNORED)
    labels[0, 0], labels[0, 3], labels[1, 5] = 4, 7, 2  # the first position has none before it
    loss = mntp_loss(hidden, labels, head)
    expected = 0.0
    for row, place, token in ((0, 3, 7), (1, 5, 2)):
        logits = (hidden[row, place - 1] @ head.T).tolist()
        expected += math.log(sum(map(math.exp, logits))) - logits[token]
    assert loss.item() == pytest.approx(expected / 2, rel=1e-5)
    loss.backward()
    reached = {tuple(place) for place in hidden.grad.abs().sum(-1).nonzero().tolist()}
    assert reached == {(0, 2), (1, 4)}


@pytest.mark.parametrize(("replace", "shares"), [("default", (0.8, 0.1, 0.1)), ("all", (1, 0, 0))])
def test_tokens_are_masked_in_the_shares_of_the_recipe(replace, shares):
    ids = torch.full((20_000,), 5)
    ids[:100] = 1
    masking = Masking(share=0.2, replace=replace)
    collator = MaskCollator(masking, mask_id=9, vocabulary=1000, special=[1])
    seen, labels = collator.mask(ids, 0)
    masked = labels != IGNORED
    assert not masked[:100].any() and torch.equal(labels[masked], ids[masked])
    assert torch.equal(seen[~masked], ids[~masked])
    assert masked.float().mean().item() == pytest.approx(0.2, abs=0.01)
    token, same = (seen[masked] == 9).float().mean(), (seen[masked] == 5).float().mean()
    other = ((seen[masked] != 9) & (seen[masked] != 5)).float().mean()
    assert [x.item() for x in (token, other, same)] == pytest.approx(shares, abs=0.02)


def test_a_block_is_masked_alike_whenever_it_is_drawn_again():
    collator = MaskCollator(Masking(), mask_id=9, vocabulary=100)
    ids = torch.arange(64)
    once, again, other = collator.mask(ids, 5), collator.mask(ids, 5), collator.mask(ids, 6)
    assert torch.equal(once[0], again[0]) and not torch.equal(once[0], other[0])


def test_blocks_are_cut_from_concatenated_texts_and_the_rest_of_a_thousand_is_dropped():
    tokenizer = make_byte_tokenizer()
    found = list(cut_blocks(["abcd", "efg", "hi"], tokenizer=tokenizer, length=4))
    assert [tokenizer.decode(ids) for ids in found] == ["abcd", "efgh"]
    assert len(list(cut_blocks(["abc"] * 2000, tokenizer=tokenizer, length=1600))) == 2


def test_every_block_is_read_before_one_is_read_again():
    rows = ShuffledBlocks(np.arange(12).reshape(4, 3), 10, seed=1)
    first = [int(rows[place]["ids"][0]) for place in range(10)]
    assert len(rows) == 10 and [rows[place]["draw"] for place in (0, 9)] == [0, 9]
    assert sorted(first[:4]) == sorted(first[4:8]) == [0, 3, 6, 9] and first[:4] != first[4:8]


@pytest.mark.parametrize("model", ["tiny", "smollm2"])
def test_loss_and_gradient_are_those_of_a_causal_lm_that_sees_everything(model, encoder, smollm2):
    """Logits of every position, the shift of transformers' causal loss, a mask of zeros."""
    backbone = (encoder if model == "tiny" else smollm2)("llm2vec", linears="torch").backbone
    inner = backbone.model
    ids = torch.randint(5, 200, (3, 24), generator=torch.Generator().manual_seed(2))
    masked = torch.rand(ids.shape, generator=torch.Generator().manual_seed(4)) < 0.2
    labels = ids.masked_fill(~masked, IGNORED)
    seen = ids.masked_fill(masked, 3)
    watched = [p for name, p in inner.named_parameters() if "q_proj" in name or "down_proj" in name]
    head = inner.get_input_embeddings().weight.detach()
    norms, losses = [], []
    for ours in (True, False):
        for parameter in watched:
            parameter.requires_grad_(True)
            parameter.grad = None
        if ours:
            loss = MaskedModel(backbone, inner, head)(seen, labels)["loss"]
        else:
            everything = torch.zeros(len(ids), 1, ids.shape[1], ids.shape[1])
            states = inner(input_ids=seen, attention_mask=everything, use_cache=False)
            logits = states.last_hidden_state @ head.T
            loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        loss.backward()
        losses.append(loss.item())
        norms.append(math.sqrt(sum(float(p.grad.square().sum()) for p in watched)))
    for parameter in watched:
        parameter.requires_grad_(False)
        parameter.grad = None
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def metaspace(*more):
    """A tokenizer that puts a blank's token before each word, as Llama 2's and Mistral's do."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", "<unk>", "▁", "a", *more])}
    inner = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", unk_token="<unk>")


def test_a_blank_is_its_own_token_not_the_first_of_its_text():
    tokenizer = metaspace("_", "▁_")
    token = find_mask_token(Masking(token="blank"), tokenizer)
    assert tokenizer("_", add_special_tokens=False)["input_ids"][0] == 3
    assert (token, tokenizer.convert_tokens_to_ids(token)) == ("_", 5)


@pytest.mark.parametrize(
    ("token", "message"), [("blank", "no token '_' in its vocabulary"), ("eos", "no EOS token")]
)
def test_a_mask_token_that_is_lacking_is_an_error(token, message):
    with pytest.raises(ValueError, match=f"masking.token={token}.*{message}; use .*token=mask"):
        find_mask_token(Masking(token=token), metaspace())
    assert find_mask_token(Masking(token="mask"), metaspace()) == "<mask>"
