"""Files by path or URI: on this machine, or in an object store through pyarrow or fsspec."""

from inceptive.io.store.address import beside as beside
from inceptive.io.store.address import divided as divided
from inceptive.io.store.address import is_uri as is_uri
from inceptive.io.store.address import local as local
from inceptive.io.store.address import shown as shown
from inceptive.io.store.parts import Reader as Reader
from inceptive.io.store.parts import ask_once as ask_once
from inceptive.io.store.parts import fetch as fetch
from inceptive.io.store.systems import arrow as arrow
from inceptive.io.store.systems import failures as failures
from inceptive.io.store.whole import Found as Found
from inceptive.io.store.whole import listing as listing
from inceptive.io.store.whole import names as names
from inceptive.io.store.whole import parquet as parquet
from inceptive.io.store.whole import read as read
from inceptive.io.store.whole import stat as stat
from inceptive.io.store.whole import stream as stream
from inceptive.io.store.whole import write as write
