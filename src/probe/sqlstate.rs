//! What a server's error says about the server.

use super::told;
use crate::model::reach::Answer;

/// Class 57P is the server itself on its way down or up: admin shutdown, crash shutdown, cannot
/// connect now (starting up, shutting down, recovering). Every other error is a server at work that
/// turns us away.
pub(super) fn answer(code: &str, message: &str) -> Answer {
    let text = told(&format!("{message} ({code})"));
    match code {
        "57P01" | "57P02" | "57P03" => Answer::Dead(text),
        _ => Answer::Alive(text),
    }
}
