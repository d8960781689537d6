"""CIFAR-10."""

from lightning_nas.datamodules.cifar_data_module import CIFARDataModule


class CIFAR10DataModule(CIFARDataModule):
    """CIFAR-10: 10 classes of 32x32 colour images; see ``CIFARDataModule`` for the arguments."""

    classes = 10
    torchvision_name = "CIFAR10"
    channel_mean = (0.49139968, 0.48215827, 0.44653124)
    channel_std = (0.24703233, 0.24348505, 0.26158768)
