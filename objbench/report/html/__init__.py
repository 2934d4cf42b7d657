"""The report as one page of HTML that needs nothing else: tables, filters, curves, gallery, provenance.

page.py makes the page: runs.py finds the records behind the rows, view.py prepares what the templates print, curves.py
and gallery.py what the scripts draw, sprites.py turns pictures into text. assets/ has templates, style and scripts.
"""
