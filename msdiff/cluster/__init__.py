"""What an admin of a cluster asks: which partitions to use, what a run will cost, how far it is.

Slurm and Snakemake are asked through their own commands; nothing of them is imported.
"""
