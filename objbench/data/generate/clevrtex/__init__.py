"""A stand-in for ClevrTex: textured objects on textured ground."""
