"""Files by path or URI: on this machine, or in an object store through pyarrow or fsspec."""

from inceptive.storage.address import beside as beside
from inceptive.storage.address import divided as divided
from inceptive.storage.address import is_uri as is_uri
from inceptive.storage.address import local as local
from inceptive.storage.address import shown as shown
from inceptive.storage.parts import Reader as Reader
from inceptive.storage.parts import ask_once as ask_once
from inceptive.storage.parts import fetch as fetch
from inceptive.storage.systems import arrow as arrow
from inceptive.storage.systems import failures as failures
from inceptive.storage.whole import Found as Found
from inceptive.storage.whole import listing as listing
from inceptive.storage.whole import names as names
from inceptive.storage.whole import parquet as parquet
from inceptive.storage.whole import read as read
from inceptive.storage.whole import stat as stat
from inceptive.storage.whole import stream as stream
from inceptive.storage.whole import write as write
