"""Preparing a dataset: from a source to a folder of shards, or to memory."""
