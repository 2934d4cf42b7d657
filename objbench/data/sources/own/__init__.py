"""Datasets of anybody: folders of images beside label maps, and other people's WebDatasets."""
