//! Rules files.
