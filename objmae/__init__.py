"""objmae: a masked autoencoder of transformers that segments objects without labels (Vikström and Ilin, 2022).

A method plugin of objbench; its hyper-parameters stand in benchmarks.yaml beside this file.
"""
