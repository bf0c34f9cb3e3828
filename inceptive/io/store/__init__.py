"""Files by path or URI: on this machine, or in an object store through pyarrow or fsspec."""

from inceptive.io.store.address import is_uri as is_uri
from inceptive.io.store.address import join as join
from inceptive.io.store.address import local as local
from inceptive.io.store.address import redact as redact
from inceptive.io.store.address import split_query as split_query
from inceptive.io.store.parts import Reader as Reader
from inceptive.io.store.parts import stop_retrying as stop_retrying
from inceptive.io.store.systems import arrow as arrow
from inceptive.io.store.whole import FileInfo as FileInfo
from inceptive.io.store.whole import listing as listing
from inceptive.io.store.whole import names as names
from inceptive.io.store.whole import parquet as parquet
from inceptive.io.store.whole import read as read
from inceptive.io.store.whole import stat as stat
from inceptive.io.store.whole import stream as stream
from inceptive.io.store.whole import write as write
