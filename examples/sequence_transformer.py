"""Searches what the blocks of a small transformer do: ``python examples/sequence_transformer.py``."""

from functools import partial

import torch
from pytorch_lightning import LightningDataModule, Trainer
from torch import Tensor, nn
from torch.utils.data import TensorDataset, random_split

import lightning_nas as nas


class Attention(nn.Conv1d):
    """Self-attention; it returns one tensor ``[N, C, T]``, as the other candidates do."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute queries, keys and values, and what they make."""
        query, key, value = super().forward(x).mT.chunk(3, dim=-1)
        return nn.functional.scaled_dot_product_attention(query, key, value).mT


class Encoder(nn.Module):
    """Blocks of attention, convolution or nothing, each with a residual connection and a norm."""

    def __init__(self, tokens: int = 9, length: int = 16, width: int = 32, blocks: int = 3) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.blocks, self.norms = nn.ModuleList(), nn.ModuleList(nn.LayerNorm(width) for _ in range(blocks))
        for _ in range(blocks):
            attention, convolution = Attention(width, 3 * width, 1), nn.Conv1d(width, width, 3, padding=1)
            candidates = {"attention": attention, "convolution": convolution, "identity": nn.Identity()}
            self.blocks.append(nas.OpChoice(candidates))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits ``[N, tokens]`` for numbers of tokens ``[N, T]``."""
        x: Tensor = self.embedding(tokens) + self.position.weight
        for block, norm in zip(self.blocks, self.norms, strict=True):
            x = norm(x + block(x.mT).mT)
        return x.amax(1) @ self.embedding.weight.T


def main(epochs: int = 10, count: int = 2000, out: str = "runs") -> float:
    """Search, train what was found, and return its accuracy: which token follows the marker, token 0?"""
    tokens, row = torch.randint(1, 9, (count, 16), generator=torch.Generator().manual_seed(0)), torch.arange(count)
    tokens[row, row % 15] = 0
    train, test = random_split(TensorDataset(tokens, tokens[row, row % 15 + 1]), [0.5, 0.5])
    data = LightningDataModule.from_datasets(train, test_dataset=test, batch_size=32)
    space, task, adam = nas.ModuleSpace(Encoder), nas.Classification(9), partial(torch.optim.Adam, lr=0.002)
    trainer = partial(Trainer, max_epochs=epochs, logger=False, enable_checkpointing=False)
    darts = nas.DartsModule(space, task, order="first", weights_optimizer=adam, alphas_optimizer=partial(adam, lr=0.02))
    trainer(callbacks=[nas.DeriveArchitecture(out)]).fit(darts, datamodule=nas.SearchSplit(data))
    found = nas.RetrainModule(space, darts.derive(), task, optimizer=adam)
    trainer().fit(found, datamodule=data)
    return trainer().test(found, datamodule=data)[0]["test/accuracy"]


if __name__ == "__main__":
    torch.set_num_threads(1)  # networks this small lose more to waiting threads than they gain
    print(f"accuracy on the test sequences: {main():.1%}")
