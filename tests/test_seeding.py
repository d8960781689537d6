import torch

from lightning_nas.seeding import derive_seed, make_generator


def test_same_key_same_seed() -> None:
    # A constant, because a change would silently change every data order.
    assert derive_seed(0, "train", 1) == derive_seed(0, "train", 1) == 5616652951175793923


def test_keys_do_not_add_up() -> None:
    keys: list[tuple[int | str, ...]] = [(0, 1), (1, 0), (1,), (1, "0"), ("1", 0), (10,), (0, 0)]
    assert len({derive_seed(*key) for key in keys}) == len(keys)
    assert all(0 <= derive_seed(number) < 2**63 for number in range(100))


def test_generator_repeats() -> None:
    first, second, other = (torch.rand(5, generator=make_generator(3, name)) for name in ("a", "a", "b"))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
