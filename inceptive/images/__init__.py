"""Any image file, decoded safely and presented to the net in one way.

`decode` turns a file into an upright 8-bit picture, grey or RGB; `Preprocessing` turns that into the
square array that a net sees.
"""

from inceptive.images.decoding import AT_ONCE as AT_ONCE
from inceptive.images.decoding import MAX_BYTES as MAX_BYTES
from inceptive.images.decoding import MAX_PIXELS as MAX_PIXELS
from inceptive.images.decoding import SUFFIXES as SUFFIXES
from inceptive.images.decoding import NoImage as NoImage
from inceptive.images.decoding import Note as Note
from inceptive.images.decoding import Source as Source
from inceptive.images.decoding import Stored as Stored
from inceptive.images.decoding import decode as decode
from inceptive.images.decoding import quiet_decoders as quiet_decoders
from inceptive.images.decoding import read_image as read_image
from inceptive.images.decoding import read_picture as read_picture
from inceptive.images.decoding import to_eight_bits as to_eight_bits
from inceptive.images.deep import DeepPicture as DeepPicture
from inceptive.images.deep import Range as Range
from inceptive.images.preprocessing import FILTERS as FILTERS
from inceptive.images.preprocessing import Box as Box
from inceptive.images.preprocessing import Interpolation as Interpolation
from inceptive.images.preprocessing import Preprocessing as Preprocessing
from inceptive.images.preprocessing import as_array as as_array
from inceptive.images.preprocessing import is_range as is_range
from inceptive.images.preprocessing import resize_box as resize_box
from inceptive.images.preprocessing import resize_shorter as resize_shorter
from inceptive.images.preprocessing import to_shorter as to_shorter
