"""Downloading a release so that each byte is transferred once, whatever breaks in between.

`fetch` brings the files of a release into a folder; `status` says what is there, what is missing and how large it is.
A file grows as `NAME.partial`; `NAME.partial.json` beside it says which bytes have arrived and from where. A complete
and checked file is renamed to `NAME`, and gets a `NAME.receipt.json`.
"""

from objbench.data.download.fetch import Status, fetch, status
from objbench.data.download.file import FileStatus
from objbench.data.download.receipts import Receipt, read_receipt
from objbench.data.download.remote import Remote

__all__ = ["FileStatus", "Receipt", "Remote", "Status", "fetch", "read_receipt", "status"]
