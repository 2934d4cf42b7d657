"""Downloading a release: every byte once, whatever the network, the server or the machine does in between.

`fetch` brings the files of a release into a folder; `survey` says what is there, what is missing and how large it is.
A file grows as `NAME.partial`, beside it `NAME.partial.json` says what has arrived and from where; a complete and
checked one is renamed to `NAME`, with `NAME.receipt.json` beside it.
"""

from objbench.data.download.fetch import Survey, fetch, survey
from objbench.data.download.file import Item
from objbench.data.download.receipts import Receipt, read_receipt
from objbench.data.download.remote import Remote

__all__ = ["Item", "Receipt", "Remote", "Survey", "fetch", "read_receipt", "survey"]
