"""Settings of all tests."""

import torch

# The networks are tiny: a second thread costs more than it brings, and far more where the machine is shared.
torch.set_num_threads(1)
