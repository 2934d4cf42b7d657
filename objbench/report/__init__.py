"""From records and published numbers to what a paper uses: records -> rows -> plans -> tables -> what is written.

request.py says what may be asked for, report.py leads from there to what is written. The rooms on the way:

rows: finds and reads records, makes rows of them and of published numbers, says what may be compared with what.
tables: which columns and rows a table has, and the table itself, ready for printing.
write: tables as text, Markdown and LaTeX, rows as JSON and CSV.
html: the page with all tables, and the runs behind them.
figures: the figures of the paper, drawn from the records behind the rows.
"""
