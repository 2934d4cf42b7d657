"""From a method and prepared data to a record: the trainer, which knows no method by name."""
