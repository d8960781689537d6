"""CIFAR-100."""

from lightning_nas.datamodules.cifar_data_module import CIFARDataModule


class CIFAR100DataModule(CIFARDataModule):
    """CIFAR-100: 100 classes of 32x32 colour images; see ``CIFARDataModule`` for the arguments."""

    classes = 100
    torchvision_name = "CIFAR100"
    channel_mean = (0.50707516, 0.48654887, 0.44091784)
    channel_std = (0.26733429, 0.25643846, 0.27615047)
