"""The method contract and the methods that come with objbench."""
