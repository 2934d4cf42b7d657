"""A finished run at work: opened by folder or name, on anybody's images, and as a folder for a hub."""
