"""Parity with the CPU and speed of the torch engine on a GPU; `__main__` prints the tables."""
