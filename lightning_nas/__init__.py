"""Neural architecture search as PyTorch Lightning modules, data modules and callbacks."""

__version__ = "0.1.0.dev0"
