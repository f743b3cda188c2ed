"""Runs over real processes: started by this tool, or by ``torchrun -m algobias.running.distributed``."""
