"""Datasets: from a source to shards, and from shards to memory."""
