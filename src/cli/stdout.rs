//! Printing that does not panic when the reader has gone, as in `geo-agent check | head`.

use std::fmt::Arguments;
use std::io::Write;

/// Like `println!`; what cannot be written is nobody's loss.
macro_rules! out {
    ($($part:tt)*) => { $crate::cli::stdout::line(format_args!($($part)*)) };
}

/// Like `print!`.
macro_rules! out_as_is {
    ($($part:tt)*) => { $crate::cli::stdout::write(format_args!($($part)*)) };
}

pub fn line(text: Arguments) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

pub fn write(text: Arguments) {
    let _ = std::io::stdout().write_fmt(text);
}
