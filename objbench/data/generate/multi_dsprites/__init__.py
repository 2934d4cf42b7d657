"""Multi-dSprites: the sprites (geometry and drawing), the law of a scene, and one module per dataset."""
