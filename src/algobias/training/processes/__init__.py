"""The same recipes over several real processes, with ``torch.distributed``."""
