"""Multi-dSprites: the sprites (geometry and drawing) and the generators of its three sets."""
