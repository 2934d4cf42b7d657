"""Generated scenes: a module or folder per dataset, and the generator that makes them."""
