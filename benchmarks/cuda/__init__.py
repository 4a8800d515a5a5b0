"""The torch engine on a GPU: how near it is to the CPU, and how fast; `__main__` has the tables."""
