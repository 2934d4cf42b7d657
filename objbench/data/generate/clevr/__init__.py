"""CLEVR: solids of rubber and metal on a grey ground."""
