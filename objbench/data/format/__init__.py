"""What a prepared folder is: manifest, shards, samples."""
