"""One run on several processes, as torchrun starts them: who is first, what they tell each other, whose share is what."""
