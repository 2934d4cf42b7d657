"""ClevrTex, version 1, as its authors publish it: unpacked folders and tar archives."""
