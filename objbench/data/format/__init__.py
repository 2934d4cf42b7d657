"""What a prepared folder consists of: manifest, shards, samples."""
